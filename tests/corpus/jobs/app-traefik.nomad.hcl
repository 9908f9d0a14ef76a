job "edge" {
  region      = "global"
  datacenters = ["dmz"]
  type        = "service"

  group "traefik" {
    count = 2

    constraint {
      distinct_hosts = true
    }

    network {
      port "http" {
        static = 80
      }
      port "https" {
        static = 443
      }
      port "api" {
        static = 8081
      }
    }

    update {
      max_parallel = 1
      auto_revert  = true
    }

    service {
      name     = "traefik"
      provider = "nomad"
      port     = "http"

      check {
        name     = "alive"
        type     = "tcp"
        port     = "http"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "traefik" {
      driver = "docker"

      config {
        image        = "traefik:v3.2"
        network_mode = "host"
        volumes      = ["local/traefik.toml:/etc/traefik/traefik.toml"]
      }

      template {
        data = <<EOF
[entryPoints]
  [entryPoints.http]
  address = ":80"
  [entryPoints.api]
  address = ":8081"

[providers.nomad]
  prefix           = "traefik"
  exposedByDefault = false
  [providers.nomad.endpoint]
    address = "http://127.0.0.1:4646"
EOF

        destination = "local/traefik.toml"
      }

      resources {
        cpu    = 100
        memory = 128
      }
    }
  }
}
