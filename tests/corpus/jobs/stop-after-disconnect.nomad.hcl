job "stop-after" {
  group "g" {
    stop_after_client_disconnect = "90s"
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
