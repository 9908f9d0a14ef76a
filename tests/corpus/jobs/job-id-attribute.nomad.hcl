job "label" {
  id   = "overridden/id"
  name = "a name with spaces"

  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "true" }
    }
  }
}
