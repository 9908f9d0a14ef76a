# The old place for ports.
job "old-ports" {
  group "g" {
    task "t" {
      driver = "docker"
      config {
        image = "redis:7"
        port_map {
          db = 6379
        }
      }
      resources {
        cpu    = 500
        memory = 256
        network {
          mbits = 10
          port "db" {}
          port "admin" {
            static = 16379
          }
        }
      }
    }
  }
}
