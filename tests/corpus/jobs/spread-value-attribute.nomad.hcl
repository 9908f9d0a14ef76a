job "spread-values" {
  group "g" {
    count = 4
    spread {
      attribute = "${node.class}"
      weight    = 30
      target {
        value   = "small"
        percent = 75
      }
      target {
        value   = "large"
        percent = 25
      }
    }
    task "t" {
      driver = "raw_exec"
      config { command = "true" }
    }
  }
}
