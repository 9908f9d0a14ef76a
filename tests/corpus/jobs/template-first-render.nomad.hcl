job "first-render" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      template {
        destination = "local/a"
        data        = "x"
        change_mode = "script"
        vault_grace = "1s"
        change_script {
          command             = "/bin/true"
          run_on_first_render = true
        }
      }
      config { command = "x" }
    }
  }
}
