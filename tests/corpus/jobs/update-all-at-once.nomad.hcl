job "all-at-once" {
  update {
    max_parallel = 0
  }
  group "g" {
    count = 3
    task "t" {
      driver = "raw_exec"
      config { command = "sleep" }
    }
  }
}
