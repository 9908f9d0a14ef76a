job "site" {
  group "web" {
    count = 2
    network {
      port "http" {}
    }
    service {
      name     = "site"
      port     = "http"
      provider = "nomad"
      tags = [
        "traefik.enable=true",
        "traefik.http.routers.site.rule=Host(`site.example`) && PathPrefix(`/`)",
      ]
      check {
        type     = "http"
        path     = "/"
        interval = "10s"
        timeout  = "2s"
      }
    }
    task "caddy" {
      driver = "raw_exec"
      artifact {
        source      = "https://dl.example/caddy_linux_${attr.cpu.arch}.tar.gz"
        destination = "local/bin"
      }
      artifact {
        source      = "git::https://git.example/site.git"
        destination = "local/site"
        options {
          ref = "{{ deployments/site_commit }}"
        }
      }
      config {
        command = "local/bin/caddy"
        args    = ["file-server", "--root", "local/site", "--listen", ":${NOMAD_PORT_http}"]
      }
    }
  }
}
