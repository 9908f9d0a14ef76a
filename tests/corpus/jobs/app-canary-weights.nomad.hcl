job "weighted" {
  group "g" {
    count = 10
    update {
      canary       = 3
      max_parallel = 5
      stagger      = "1m"
    }
    network {
      port "http" {}
    }
    service {
      name        = "weighted"
      port        = "http"
      provider    = "nomad"
      tags        = ["weight=90"]
      canary_tags = ["weight=10", "canary"]
      on_update   = "ignore"
    }
    task "t" {
      driver = "raw_exec"
      config {
        command = "server"
        args    = ["-p", "${NOMAD_PORT_http}"]
      }
    }
  }
}
