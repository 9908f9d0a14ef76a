# As many canaries as there are copies: the new colour stands beside the old one.
job "blue-green" {
  group "api" {
    count = 3
    update {
      max_parallel     = 3
      canary           = 3
      min_healthy_time = "10s"
      healthy_deadline = "5m"
      auto_revert      = true
    }
    network {
      port "http" {}
    }
    service {
      name        = "api"
      port        = "http"
      provider    = "nomad"
      tags        = ["live"]
      canary_tags = ["candidate"]
      meta {
        colour = "live"
      }
      canary_meta {
        colour = "candidate"
      }
      check {
        type     = "http"
        path     = "/ready"
        interval = "5s"
        timeout  = "2s"
      }
    }
    task "api" {
      driver = "docker"
      config {
        image = "api-server:1.4"
        ports = ["http"]
      }
    }
  }
}
