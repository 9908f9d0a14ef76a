job "manual" {
  group "g" {
    count = 2
    update {
      health_check      = "manual"
      progress_deadline = "0s"
      healthy_deadline  = "30m"
    }
    task "t" {
      driver = "raw_exec"
      config { command = "sleep" }
    }
  }
}
