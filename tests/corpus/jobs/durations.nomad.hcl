job "durations" {
  group "g" {
    shutdown_delay = "1m30s"
    restart {
      interval = "1h15m30.5s"
      delay    = 15000000000
    }
    task "t" {
      driver       = "raw_exec"
      kill_timeout = "500ms"
      config { command = "x" }
    }
  }
}
