job "task-service" {
  group "g" {
    network {
      port "api" {}
    }
    task "t" {
      driver = "docker"
      service {
        name         = "api"
        provider     = "nomad"
        port         = "api"
        address_mode = "driver"
        check {
          type     = "tcp"
          interval = "5s"
          timeout  = "1s"
        }
      }
      config {
        image = "api:1"
        ports = ["api"]
      }
    }
  }
}
