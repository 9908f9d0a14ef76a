job "lonely" {
  group "g" {
    network {
      mode = "none"
    }
    task "t" {
      driver = "docker"
      config { image = "busybox:1.36" }
    }
  }
}
