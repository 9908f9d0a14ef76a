job "chain" {
  type = "batch"
  group "extract" {
    task "extract" {
      driver = "exec"
      config {
        command = "extract"
      }
      restart {
        attempts = 5
        interval = "1h"
        delay    = "30s"
      }
    }
    task "archive" {
      driver = "exec"
      lifecycle {
        hook = "poststop"
      }
      config {
        command = "archive"
      }
    }
  }
  group "load" {
    count = 4
    reschedule {
      attempts       = 2
      interval       = "6h"
      delay          = "1m"
      delay_function = "constant"
      unlimited      = false
    }
    task "load" {
      driver = "exec"
      config {
        command = "load"
        args    = ["--part", "${NOMAD_ALLOC_INDEX}", "--of", "4"]
      }
    }
  }
}
