job "scaled" {
  group "g" {
    scaling {
      enabled = true
      min     = 2
      max     = 20
      policy {
        cooldown            = "1m"
        evaluation_interval = "30s"
        check "cpu" {
          source = "prometheus"
          query  = "avg(cpu)"
          strategy "target-value" {
            target = 70
          }
        }
      }
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
