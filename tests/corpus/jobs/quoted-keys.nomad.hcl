job "quoted" {
  group "g" {
    task "t" {
      driver = "docker"
      config {
        image  = "x:1"
        labels = { "com.example/app" = "x", plain = "y" }
        sysctl = { "net.ipv4.ip_forward" = 1 }
      }
    }
  }
}
