job "docker-mounts" {
  group "g" {
    task "t" {
      driver = "docker"
      config {
        image = "nginx:1.27"
        mounts = [
          {
            type   = "bind"
            source = "local/a"
            target = "/a"
          },
          {
            type   = "bind"
            source = "local/b"
            target = "/b"
          }
        ]
        labels = {
          one = "1"
          two = 2
        }
      }
    }
  }
}
