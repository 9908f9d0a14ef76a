job "scaling-typed" {
  group "g" {
    scaling {
      type    = "horizontal"
      enabled = false
      max     = 3
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
