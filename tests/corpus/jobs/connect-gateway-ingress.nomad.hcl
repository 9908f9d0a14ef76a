job "ingress" {
  group "g" {
    network {
      mode = "bridge"
      port "inbound" {
        static = 8080
      }
    }
    service {
      name = "ingress-gw"
      port = "8080"
      connect {
        gateway {
          proxy {
            connect_timeout = "500ms"
            envoy_gateway_bind_addresses "uuid" {
              address = "0.0.0.0"
              port    = 8080
            }
            envoy_dns_discovery_type = "STRICT_DNS"
          }
          ingress {
            tls {
              enabled         = true
              tls_min_version = "TLSv1_2"
              cipher_suites   = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]
            }
            listener {
              port     = 8080
              protocol = "http"
              service {
                name  = "*"
                hosts = ["example.org", "*.example.org"]
              }
            }
            listener {
              port     = 3306
              protocol = "tcp"
              service {
                name            = "db"
                max_connections = 100
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
