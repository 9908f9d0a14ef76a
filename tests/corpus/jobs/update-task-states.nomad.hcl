job "states" {
  group "g" {
    count = 2
    update {
      health_check     = "task_states"
      min_healthy_time = "1s"
      healthy_deadline = "20s"
    }
    task "t" {
      driver = "raw_exec"
      config { command = "sleep" }
    }
  }
}
