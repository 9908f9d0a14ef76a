job "waits" {
  group "g" {
    task "wait-for-db" {
      driver = "raw_exec"
      lifecycle {
        hook    = "prestart"
        sidecar = false
      }
      config {
        command = "/bin/sh"
        args    = ["-c", "until nc -z db 5432; do sleep 1; done"]
      }
      restart {
        attempts = 20
        delay    = "2s"
        interval = "10m"
        mode     = "delay"
      }
      resources {
        cpu    = 10
        memory = 10
      }
    }
    task "main" {
      driver = "raw_exec"
      config { command = "main" }
    }
  }
}
