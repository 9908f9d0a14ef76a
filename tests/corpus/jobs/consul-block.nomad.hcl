job "consul-block" {
  group "g" {
    consul {
      namespace = "team"
      cluster   = "main"
      partition = "p1"
    }
    task "t" {
      driver = "raw_exec"
      consul {}
      config { command = "x" }
    }
  }
}
