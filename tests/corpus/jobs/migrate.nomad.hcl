job "migrates" {
  migrate {
    max_parallel     = 2
    health_check     = "task_states"
    min_healthy_time = "5s"
    healthy_deadline = "2m"
  }
  group "a" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
  group "b" {
    migrate {
      max_parallel = 1
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
