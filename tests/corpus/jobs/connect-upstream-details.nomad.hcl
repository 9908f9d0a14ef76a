job "upstreams" {
  group "g" {
    network {
      mode = "bridge"
    }
    service {
      name = "u"
      port = "9000"
      connect {
        sidecar_service {
          disable_default_tcp_check = true
          meta {
            role = "edge"
          }
          proxy {
            local_service_address = "127.0.0.1"
            upstreams {
              destination_name        = "far"
              destination_namespace   = "ns"
              destination_partition   = "part"
              destination_peer        = "cluster-2"
              destination_type        = "prepared_query"
              local_bind_socket_path  = "/tmp/far.sock"
              local_bind_socket_mode  = "0600"
            }
          }
        }
        sidecar_task {
          name           = "proxy"
          user           = "envoy"
          shutdown_delay = "2s"
          kill_signal    = "SIGTERM"
          env {
            LOG = "info"
          }
          meta {
            m = "1"
          }
          volume_mount {
            volume      = "certs"
            destination = "/certs"
          }
        }
      }
    }
    volume "certs" {
      type   = "host"
      source = "certs"
    }
    task "t" {
      driver = "docker"
      config { image = "u:1" }
    }
  }
}
