job "nightly" {
  type = "batch"
  periodic {
    cron             = "30 2 * * *"
    time_zone        = "Europe/Berlin"
    prohibit_overlap = true
  }
  group "g" {
    task "report" {
      driver = "raw_exec"
      config { command = "report" }
    }
  }
}
