job "ingress-limits" {
  group "g" {
    network {
      mode = "bridge"
    }
    service {
      name = "gw"
      connect {
        gateway {
          proxy {
            envoy_gateway_bind_tagged_addresses = true
            envoy_gateway_no_default_bind       = true
            config {
              any_key = 1
            }
          }
          ingress {
            listener {
              port     = 80
              protocol = "http"
              service {
                name                    = "api"
                max_connections         = 10
                max_pending_requests    = 20
                max_concurrent_requests = 30
                tls {
                  enabled         = true
                  tls_max_version = "TLSv1_3"
                }
              }
            }
          }
        }
      }
    }
    task "t" {
      driver = "docker"
      config { image = "t:1" }
    }
  }
}
