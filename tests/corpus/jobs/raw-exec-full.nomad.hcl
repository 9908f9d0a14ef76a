job "raw-full" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command            = "/bin/sh"
        args               = ["-c", "exec server >> out.log 2>&1"]
        work_dir           = "${NOMAD_TASK_DIR}"
        cgroup_v2_override = "custom.slice/app.scope"
        oom_score_adj      = 500
        denied_envvars     = ["AWS_*"]
      }
    }
  }
}
