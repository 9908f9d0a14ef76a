job "five" {
  datacenters = ["dc1"]

  group "workers" {
    count = 5 // set the number of workers to 5 instances

    update {
      max_parallel     = 1
      canary           = 2 // two canaries on each release
      min_healthy_time = "30s"
      healthy_deadline = "10m"
      auto_revert      = true
      auto_promote     = false
    }

    task "worker" {
      driver = "raw_exec"
      config {
        command = "local/worker"
      }
    }
  }
}
