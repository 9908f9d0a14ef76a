# Grüße aus Köln – 東京
job "unicode" {
  meta {
    ключ   = "значение"
    grüße  = "schöne 🎉"
    日本    = "東京"
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      env {
        TEXT = "naïve café ${NOMAD_TASK_NAME} ☃"
      }
      config { command = "x" }
    }
  }
}
