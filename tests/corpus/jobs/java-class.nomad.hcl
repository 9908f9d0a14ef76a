job "java-class" {
  group "g" {
    task "t" {
      driver = "java"
      config {
        class      = "org.example.Main"
        class_path = "${NOMAD_TASK_DIR}/lib/*"
      }
    }
  }
}
