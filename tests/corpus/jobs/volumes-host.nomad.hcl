job "host-volumes" {
  group "db" {
    volume "data" {
      type      = "host"
      source    = "pg-data"
      read_only = false
    }
    volume "certs" {
      type      = "host"
      source    = "certs"
      read_only = true
    }
    volume "mine" {
      type   = "host"
      source = "scratch"
      sticky = true
    }
    task "db" {
      driver = "docker"
      volume_mount {
        volume      = "data"
        destination = "/var/lib/postgresql/data"
      }
      volume_mount {
        volume           = "certs"
        destination      = "/certs"
        read_only        = true
        propagation_mode = "host-to-task"
      }
      volume_mount {
        volume        = "mine"
        destination   = "/scratch"
        selinux_label = "Z"
      }
      config { image = "postgres:16" }
    }
  }
}
