job "mesh" {
  group "front" {
    network {
      mode = "bridge"
      port "http" {
        to = 9002
      }
    }
    service {
      name = "front"
      port = "9002"
      connect {
        sidecar_service {
          tags = ["proxy"]
          port = "connect-proxy-front"
          proxy {
            local_service_port = 9002
            upstreams {
              destination_name = "counter"
              local_bind_port  = 8080
              datacenter       = "dc1"
              mesh_gateway {
                mode = "local"
              }
              config {
                connect_timeout_ms = 5000
              }
            }
            upstreams {
              destination_name   = "cache"
              local_bind_address = "127.0.0.2"
              local_bind_port    = 6379
            }
            expose {
              path {
                path            = "/metrics"
                protocol        = "http"
                local_path_port = 9102
                listener_port   = "metrics"
              }
            }
            config {
              protocol = "http"
            }
          }
        }
        sidecar_task {
          driver = "docker"
          config {
            image = "envoyproxy/envoy:v1.31.0"
          }
          resources {
            cpu    = 250
            memory = 64
          }
          logs {
            max_files     = 2
            max_file_size = 5
          }
          kill_timeout = "3s"
        }
      }
    }
    task "front" {
      driver = "docker"
      config { image = "front:1" }
    }
  }
}
