job "spreads" {
  datacenters = ["dc1", "dc2", "dc3"]
  spread {
    attribute = "${node.datacenter}"
    weight    = 100
    target "dc1" {
      percent = 50
    }
    target "dc2" {
      percent = 30
    }
    target "dc3" {
      percent = 20
    }
  }
  group "g" {
    count = 10
    spread {
      attribute = "${meta.rack}"
    }
    task "t" {
      driver = "raw_exec"
      config { command = "true" }
    }
  }
}
