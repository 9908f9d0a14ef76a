job "web" {
  datacenters = ["dc1"]

  group "web" {
    network {
      port "http" {
        to = 8080
      }
    }

    task "webservice" {
      driver = "docker"

      config {
        image = "webserver:3.2"
        ports = ["http"]
        labels {
          group = "webserver"
        }
      }
    }
  }
}
