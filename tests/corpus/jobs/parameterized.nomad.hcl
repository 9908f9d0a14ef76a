job "encode" {
  type = "batch"
  parameterized {
    payload       = "required"
    meta_required = ["input", "profile"]
    meta_optional = ["priority"]
  }
  group "g" {
    task "ffmpeg" {
      driver = "exec"
      dispatch_payload {
        file = "config.json"
      }
      config {
        command = "encode"
        args    = ["${NOMAD_META_input}", "--profile", "${NOMAD_META_PROFILE}", "local/config.json"]
      }
    }
  }
}
