job "names" {
  group "g" {
    network {
      port "a" {}
    }
    service {
      provider = "nomad"
      port     = "a"
    }
    task "t" {
      driver = "raw_exec"
      service {
        provider = "nomad"
        port     = "a"
      }
      service {
        name     = "${BASE}-extra"
        provider = "nomad"
        port     = "a"
      }
      service {
        name     = "${JOB}-${TASKGROUP}-${TASK}-more"
        provider = "nomad"
        port     = "a"
      }
      config { command = "x" }
    }
  }
}
