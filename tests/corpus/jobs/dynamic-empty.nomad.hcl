job "dynamic-empty" {
  group "g" {
    dynamic "constraint" {
      for_each = []
      content {
        attribute = "${node.class}"
        value     = constraint.value
      }
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
