job "lenient" {
  priority = "60"
  group "g" {
    count = "2"
    task "t" {
      driver = "raw_exec"
      leader = "true"
      config { command = "x" }
      resources {
        cpu    = "150"
        memory = "64"
      }
    }
  }
}
