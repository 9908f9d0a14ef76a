job "parked" {
  group "g" {
    count = 0
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
