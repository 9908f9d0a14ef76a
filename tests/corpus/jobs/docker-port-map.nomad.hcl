job "docker-port-map" {
  group "g" {
    network {
      port "db" {}
    }
    task "t" {
      driver = "docker"
      config {
        image = "redis:7.4"
        port_map = {
          db = 6379
        }
      }
    }
  }
}
