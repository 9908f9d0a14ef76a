job "disconnects" {
  group "keeps" {
    disconnect {
      lost_after = "6h"
      replace    = false
      reconcile  = "keep_original"
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
  group "stops" {
    disconnect {
      stop_on_client_after = "5m"
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
  group "longest" {
    disconnect {
      lost_after = "30m"
      reconcile  = "longest_running"
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
