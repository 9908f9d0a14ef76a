job "vertical" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
      scaling "cpu" {
        enabled = true
        min     = 100
        max     = 1000
        policy {
          cooldown = "24h"
        }
      }
      scaling "mem" {
        max = 512
      }
    }
  }
}
