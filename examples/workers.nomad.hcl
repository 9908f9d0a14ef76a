# Five workers. A new version starts two canaries first and waits for: rove deployment promote ID

variable "release" {
  type    = string
  default = "1.3"
}

job "workers" {
  datacenters = ["*"]

  group "workers" {
    count = 5 // set the number of workers to 5 instances

    update {
      max_parallel     = 1
      canary           = 2 // set 2 canary instances on release
      min_healthy_time = "1s"
      healthy_deadline = "10m"
      auto_revert      = true
      auto_promote     = false
    }

    task "worker" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["-c", "echo worker $NOMAD_ALLOC_INDEX release $RELEASE; exec sleep 1000000"]
      }

      env {
        RELEASE = var.release
      }

      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
