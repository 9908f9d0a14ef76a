job "pod" {
  group "pod" {
    network {
      mode = "bridge"
      port "in" { to = 8000 }
    }
    task "a" {
      driver = "docker"
      config { image = "a:1" }
    }
    task "b" {
      driver = "docker"
      config { image = "b:1" }
    }
    task "c" {
      driver = "exec"
      config {
        command = "/bin/c"
      }
    }
    task "d" {
      driver = "raw_exec"
      config {
        command = "d"
      }
    }
    task "e" {
      driver = "java"
      config {
        jar_path = "local/e.jar"
      }
    }
  }
}
