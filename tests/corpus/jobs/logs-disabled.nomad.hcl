job "quiet" {
  group "g" {
    task "a" {
      driver = "raw_exec"
      logs { disabled = true }
      config { command = "x" }
    }
    task "b" {
      driver = "raw_exec"
      logs {
        enabled = false
      }
      config { command = "x" }
    }
  }
}
