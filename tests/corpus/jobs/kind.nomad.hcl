job "kinds" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      kind   = "connect-native:web"
      config { command = "x" }
    }
  }
}
