job "resched" {
  reschedule {
    delay          = "10s"
    delay_function = "fibonacci"
    max_delay      = "20m"
    unlimited      = true
  }
  group "inherits" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
  group "limited" {
    reschedule {
      attempts       = 3
      interval       = "1h"
      delay          = "30s"
      delay_function = "constant"
      unlimited      = false
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
  group "never" {
    reschedule {
      attempts  = 0
      unlimited = false
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
