job "bare" {
  constraint {
    attribute = node.class
    value     = "fast"
  }
  constraint {
    attribute = attr.kernel.name
    value     = "linux"
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "echo"
        args    = [meta.rack, env["HOME"], NOMAD_TASK_DIR]
      }
    }
  }
}
