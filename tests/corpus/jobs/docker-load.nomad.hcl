job "docker-load" {
  group "g" {
    task "t" {
      driver = "docker"
      artifact {
        source = "https://dl.example/image.tar"
      }
      config {
        load  = "image.tar"
        image = "local/app:1"
      }
    }
  }
}
