job "restarts" {
  group "delay" {
    restart {
      attempts = 10
      interval = "5m"
      delay    = "25s"
      mode     = "delay"
    }
    task "t" {
      driver = "raw_exec"
      config { command = "flaky" }
    }
  }
  group "fail" {
    restart {
      attempts         = 0
      mode             = "fail"
      render_templates = true
    }
    task "t" {
      driver = "raw_exec"
      config { command = "once" }
    }
  }
  group "task-level" {
    restart {
      attempts = 4
    }
    task "t" {
      driver = "raw_exec"
      restart {
        delay = "3s"
      }
      config { command = "often" }
    }
  }
}
