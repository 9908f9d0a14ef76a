job "web-by-key" {
  group "web" {
    task "webservice" {
      driver = "docker"

      config {
        image = "webserver:{{ deployments/webserver_version }}"
        labels {
          group = "webserver"
        }
      }
    }
  }
}
