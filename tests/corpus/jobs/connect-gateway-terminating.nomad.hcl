job "terminating" {
  group "g" {
    network {
      mode = "bridge"
    }
    service {
      name = "outside"
      connect {
        gateway {
          proxy {}
          terminating {
            service {
              name      = "legacy-db"
              ca_file   = "/etc/ssl/ca.pem"
              cert_file = "/etc/ssl/cert.pem"
              key_file  = "/etc/ssl/key.pem"
              sni       = "db.legacy"
            }
          }
        }
      }
    }
    service {
      name = "between"
      connect {
        gateway {
          mesh {}
        }
      }
    }
    task "t" {
      driver = "docker"
      config { image = "t:1" }
    }
  }
}
