job "cores" {
  group "g" {
    task "t" {
      driver = "exec"
      config { command = "x" }
      resources {
        cores      = 2
        memory     = 512
        memory_max = -1
        numa {
          affinity = "prefer"
        }
      }
    }
  }
}
