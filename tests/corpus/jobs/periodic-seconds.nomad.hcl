job "seconds" {
  type = "batch"
  periodic {
    cron = "*/30 * * * * * *"
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "tick" }
    }
  }
}
