job "ci-runner" {
  type = "batch"
  parameterized {
    meta_required = ["repo", "commit"]
    payload       = "required"
  }
  group "run" {
    reschedule {
      attempts  = 0
      unlimited = false
    }
    restart {
      attempts = 0
      mode     = "fail"
    }
    task "build" {
      driver = "exec"
      user   = "nobody"
      dispatch_payload {
        file = "pipeline.yaml"
      }
      artifact {
        source      = "git::${NOMAD_META_repo}"
        destination = "local/src"
        options {
          ref = "${NOMAD_META_commit}"
        }
      }
      config {
        command = "/usr/bin/make"
        args    = ["-C", "local/src", "ci"]
      }
      resources {
        cpu    = 2000
        memory = 2048
      }
    }
  }
}
