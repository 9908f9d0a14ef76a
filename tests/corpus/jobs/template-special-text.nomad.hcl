job "odd-text" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      template {
        destination = "local/a"
        data        = <<EOT
dollar $ and percent % and $${escaped} and %%{ if not }
tab	here, quote " and backslash \ and \n kept
${NOMAD_TASK_DIR} stays
EOT
      }
      template {
        destination = "local/b"
        data        = "one\ntwo\ttabbed \"quoted\" \\ back \u00e9 \U0001F600 $${x} %%{y}"
      }
      template {
        destination = "local/c"
        data        = <<-EOT
          first
            indented

          after a blank line
        EOT
      }
      config { command = "x" }
    }
  }
}
