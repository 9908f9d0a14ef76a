job "device" {
  group "g" {
    network {
      device = "eth1"
      port "p" {}
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
