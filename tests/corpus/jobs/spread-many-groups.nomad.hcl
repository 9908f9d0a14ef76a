job "many" {
  spread {
    attribute = "${node.datacenter}"
  }
  group "a" {
    count = 2
    task "t" {
      driver = "raw_exec"
      config { command = "a" }
    }
  }
  group "b" {
    count = 3
    task "t" {
      driver = "raw_exec"
      config { command = "b" }
    }
  }
  group "c" {
    count = 4
    spread {
      attribute = "${meta.rack}"
      weight    = 20
    }
    task "t" {
      driver = "raw_exec"
      config { command = "c" }
    }
  }
}
