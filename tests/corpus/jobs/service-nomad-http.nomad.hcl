job "svc-http" {
  group "g" {
    network {
      port "http" {}
    }
    service {
      name     = "front"
      provider = "nomad"
      port     = "http"
      tags     = ["v1", "alloc-${NOMAD_ALLOC_INDEX}"]
      check {
        name     = "alive"
        type     = "http"
        method   = "HEAD"
        path     = "/healthz"
        interval = "10s"
        timeout  = "3s"
        header {
          Host          = ["front.example"]
          Authorization = ["Basic Zm9vOmJhcg=="]
        }
        check_restart {
          limit = 3
          grace = "30s"
        }
      }
    }
    task "t" {
      driver = "raw_exec"
      config { command = "front" }
    }
  }
}
