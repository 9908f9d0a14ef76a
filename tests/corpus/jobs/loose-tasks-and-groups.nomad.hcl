job "mixed" {
  datacenters = ["lab"]

  group "grouped" {
    task "b" {
      driver = "raw_exec"
      config { command = "b" }
    }
  }

  task "a" {
    driver = "raw_exec"
    config { command = "a" }
  }

  task "c" {
    driver = "raw_exec"
    config { command = "c" }
  }
}
