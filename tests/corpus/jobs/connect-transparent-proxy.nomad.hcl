job "tproxy" {
  group "g" {
    network {
      mode = "bridge"
    }
    service {
      name = "t"
      port = "8080"
      connect {
        sidecar_service {
          proxy {
            transparent_proxy {
              outbound_port          = 15001
              exclude_inbound_ports  = ["www", "9000"]
              exclude_outbound_ports = [443, 80]
              exclude_outbound_cidrs = ["10.0.0.0/8"]
              exclude_uids           = ["200"]
              no_dns                 = true
              uid                    = "101"
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
