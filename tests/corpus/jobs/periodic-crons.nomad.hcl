job "often" {
  type = "sysbatch"
  periodic {
    crons   = ["*/15 8-17 * * mon-fri", "@weekly", "0 0 1 1,4,7,10 *"]
    enabled = false
  }
  group "g" {
    task "sweep" {
      driver = "raw_exec"
      config { command = "sweep" }
    }
  }
}
