job "ticket" {
  type = "sysbatch"
  parameterized {
    payload = "forbidden"
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
