job "svc-identity" {
  group "g" {
    network {
      port "http" {}
    }
    service {
      name = "id"
      port = "http"
      identity {
        aud = ["consul.example"]
        ttl = "1h"
      }
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
