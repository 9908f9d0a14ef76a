job "exec-full" {
  group "g" {
    task "t" {
      driver = "exec"
      user   = "app"
      config {
        command  = "/usr/bin/python3"
        args     = ["-m", "http.server"]
        work_dir = "/local"
        pid_mode = "private"
        ipc_mode = "private"
        cap_add  = ["net_bind_service"]
        cap_drop = ["all"]
      }
    }
  }
}
