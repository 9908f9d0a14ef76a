job "templates" {
  group "g" {
    network {
      port "http" {}
    }
    task "t" {
      driver = "raw_exec"
      template {
        destination = "local/server.conf"
        perms       = "0640"
        uid         = 1000
        gid         = 1000
        data        = <<EOF
# rendered on {{ env "node.unique.name" }}
listen {{ env "NOMAD_PORT_http" }}
{{- range nomadService "backend" }}
upstream {{ .Address }}:{{ .Port }}
{{- end }}
EOF
      }
      template {
        destination   = "secrets/db.env"
        env           = true
        change_mode   = "restart"
        splay         = "10s"
        data          = <<-EOF
          DB_HOST={{ key "db/host" }}
          {{ with nomadVar "nomad/jobs/templates" }}DB_PASSWORD={{ .password }}{{ end }}
        EOF
      }
      template {
        destination   = "local/reload.txt"
        source        = "local/reload.tpl"
        change_mode   = "signal"
        change_signal = "SIGUSR1"
        wait {
          min = "2s"
          max = "30s"
        }
      }
      template {
        destination = "local/script.txt"
        data        = "{{ key \"x/y\" }}"
        change_mode = "script"
        change_script {
          command       = "/bin/sh"
          args          = ["-c", "echo changed"]
          timeout       = "20s"
          fail_on_error = true
        }
      }
      template {
        destination     = "local/other.txt"
        data            = "[[ env \"HOME\" ]] {{ untouched }}"
        left_delimiter  = "[["
        right_delimiter = "]]"
        change_mode     = "noop"
        once            = true

        error_on_missing_key = true
      }
      config { command = "server" }
    }
  }
}
