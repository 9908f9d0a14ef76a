job "legacy-resources" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
      resources {
        cpu    = "300"
        memory = "128"
        disk   = 100
        iops   = 10
      }
    }
  }
}
