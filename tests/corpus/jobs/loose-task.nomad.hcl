# A task straight below the job becomes a group of its own.
job "loose" {
  task "timer" {
    driver = "raw_exec"
    config {
      command = "/usr/bin/env"
    }
    resources {
      cpu    = 20
      memory = 16
    }
  }
}
