job "java-jar" {
  group "g" {
    task "t" {
      driver = "java"
      artifact {
        source = "https://dl.example/app.jar"
      }
      config {
        jar_path    = "local/app.jar"
        jvm_options = ["-Xmx512m", "-XX:+UseG1GC"]
        args        = ["server"]
      }
      resources {
        cpu    = 500
        memory = 768
      }
    }
  }
}
