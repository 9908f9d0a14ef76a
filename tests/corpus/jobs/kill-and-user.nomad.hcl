job "kills" {
  group "g" {
    shutdown_delay = "8s"
    task "t" {
      driver         = "exec"
      user           = "nobody"
      kill_timeout   = "25s"
      kill_signal    = "SIGTERM"
      shutdown_delay = "1500ms"
      config { command = "x" }
    }
  }
}
