job "everywhere" {
  multiregion {
    strategy {
      max_parallel = 1
      on_failure   = "fail_all"
    }
    region "west" {
      count       = 2
      datacenters = ["west-1"]
      node_pool   = "default"
      meta {
        city = "Lisbon"
      }
    }
    region "east" {
      count       = 1
      datacenters = ["east-1", "east-2"]
    }
  }
  group "g" {
    count = 0
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
