job "bounded" {
  type = "batch"
  group "g" {
    max_run_duration = "2h"
    task "t" {
      driver = "raw_exec"
      config { command = "long" }
    }
  }
}
