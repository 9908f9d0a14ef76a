job "podman" {
  group "g" {
    network {
      port "http" { to = 80 }
    }
    task "t" {
      driver = "podman"
      config {
        image        = "docker.io/library/nginx:1.27"
        ports        = ["http"]
        network_mode = "bridge"
        tmpfs        = ["/var"]
        userns       = "keep-id"
      }
    }
  }
}
