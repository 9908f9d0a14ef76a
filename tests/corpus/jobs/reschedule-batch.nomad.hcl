job "resched-batch" {
  type = "batch"
  group "g" {
    reschedule {
      attempts       = 5
      interval       = "12h"
      delay          = "10s"
      delay_function = "exponential"
      max_delay      = "1h"
    }
    task "t" {
      driver = "raw_exec"
      config { command = "crunch" }
    }
  }
}
