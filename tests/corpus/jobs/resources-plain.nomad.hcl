job "resources" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
      resources {
        cpu        = 2500
        memory     = 1024
        memory_max = 2048
        secrets    = 4
      }
    }
  }
}
