variable "bucket" {
  type    = string
  default = "backups"
}
job "pg-backup" {
  type = "batch"
  periodic {
    cron             = "15 1 * * *"
    prohibit_overlap = true
    time_zone        = "UTC"
  }
  group "backup" {
    restart {
      attempts = 1
      interval = "1h"
      delay    = "1m"
      mode     = "fail"
    }
    task "dump" {
      driver = "docker"
      lifecycle {
        hook = "prestart"
      }
      config {
        image   = "postgres:16"
        command = "pg_dump"
        args    = ["-Fc", "-f", "/alloc/dump.pgc", "app"]
      }
      template {
        destination = "secrets/pg.env"
        env         = true
        data        = <<-EOF
          PGHOST={{ with nomadService "postgres" }}{{ with index . 0 }}{{ .Address }}{{ end }}{{ end }}
          PGPASSWORD={{ with nomadVar "nomad/jobs/pg-backup" }}{{ .password }}{{ end }}
        EOF
      }
    }
    task "upload" {
      driver = "docker"
      config {
        image = "rclone/rclone:1.68"
        args  = ["copy", "/alloc/dump.pgc", "s3:${var.bucket}/pg/"]
      }
    }
  }
}
