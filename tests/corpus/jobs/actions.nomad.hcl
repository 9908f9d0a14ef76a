job "actions" {
  group "g" {
    task "db" {
      driver = "docker"
      config { image = "mysql:8" }
      action "dump" {
        command = "/bin/sh"
        args    = ["-c", "mysqldump --all-databases > /alloc/dump.sql"]
      }
      action "ping" {
        command = "mysqladmin"
        args    = ["ping"]
      }
    }
  }
}
