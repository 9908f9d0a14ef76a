job "monitoring" {
  group "prometheus" {
    network {
      port "web" {
        to = 9090
      }
    }
    ephemeral_disk {
      size   = 10000
      sticky = true
    }
    task "prometheus" {
      driver = "docker"
      config {
        image = "prom/prometheus:v2.55.0"
        ports = ["web"]
        args  = ["--config.file=/local/prometheus.yml", "--storage.tsdb.path=/alloc/data"]
        mount {
          type     = "bind"
          source   = "local"
          target   = "/local"
          readonly = true
        }
      }
      template {
        destination   = "local/prometheus.yml"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        data          = <<-YAML
          global:
            scrape_interval: 15s
          scrape_configs:
            - job_name: nomad
              metrics_path: /v1/metrics
              params: {format: [prometheus]}
              nomad_sd_configs:
                - server: 'http://{{ env "attr.unique.network.ip-address" }}:4646'
        YAML
      }
      resources {
        cpu    = 1000
        memory = 2048
      }
    }
  }
  group "grafana" {
    network {
      port "web" {
        to = 3000
      }
    }
    volume "data" {
      type   = "host"
      source = "grafana"
    }
    task "grafana" {
      driver = "docker"
      config {
        image = "grafana/grafana:11.3.0"
        ports = ["web"]
      }
      volume_mount {
        volume      = "data"
        destination = "/var/lib/grafana"
      }
      env {
        GF_SERVER_ROOT_URL = "https://graphs.example/"
      }
      identity {
        env         = true
        change_mode = "restart"
      }
    }
  }
}
