job "team/app@v1.2_x" {
  group "group one" {
    task "task.with-dots_and+plus" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
  group "größe" {
    task "übung" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
