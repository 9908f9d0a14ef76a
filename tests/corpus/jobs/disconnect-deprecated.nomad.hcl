job "old-disconnect" {
  group "g" {
    max_client_disconnect      = "1h"
    prevent_reschedule_on_lost = true
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
