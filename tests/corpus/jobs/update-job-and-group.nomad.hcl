job "rolling" {
  update {
    stagger          = "45s"
    max_parallel     = 2
    min_healthy_time = "15s"
    healthy_deadline = "3m"
    auto_revert      = true
  }
  group "inherits" {
    count = 6
    task "t" {
      driver = "raw_exec"
      config { command = "sleep" }
    }
  }
  group "overrides" {
    count = 4
    update {
      max_parallel = 1
      canary       = 1
      auto_promote = true
    }
    task "t" {
      driver = "raw_exec"
      config { command = "sleep" }
    }
  }
}
