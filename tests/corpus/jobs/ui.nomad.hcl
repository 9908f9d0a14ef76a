job "documented" {
  ui {
    description = "The **front** of the shop, run by team blue."
    link {
      label = "Runbook"
      url   = "https://wiki.example/runbook"
    }
    link {
      label = "Dashboard"
      url   = "https://graphs.example/d/1?job=documented&x=1"
    }
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
