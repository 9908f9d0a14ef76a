job "native" {
  group "g" {
    network {
      port "api" {}
    }
    task "generate" {
      driver = "docker"
      service {
        name = "uuid-api"
        port = "api"
        task = "generate"
        connect {
          native = true
        }
      }
      config { image = "uuid-api:v1" }
    }
  }
}
