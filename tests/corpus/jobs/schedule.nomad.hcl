job "scheduled-task" {
  group "g" {
    task "office" {
      driver = "raw_exec"
      schedule {
        cron {
          start    = "0 8 * * MON-FRI *"
          end      = "0 18"
          timezone = "Europe/Vienna"
        }
      }
      config { command = "x" }
    }
    task "main" {
      driver = "raw_exec"
      config { command = "y" }
    }
  }
}
