# A web service in a container, with a label and a mapped port.

variable "image" {
  type    = string
  default = "webserver:3.2"
}

job "webservice" {
  datacenters = ["*"]

  group "web" {
    network {
      port "http" {
        to = 8080
      }
    }

    task "webservice" {
      driver = "docker"

      config {
        image = var.image
        ports = ["http"]

        labels {
          group = "webserver"
        }
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
