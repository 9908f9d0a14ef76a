variable "tag" {
  default = "2026.08.1"
}
variable "registry" {
  default = "registry.example"
}
locals {
  image = { for name in ["api", "auth", "search"] : name => "${var.registry}/${name}:${var.tag}" }
}
job "shop" {
  namespace = "shop"
  update {
    canary       = 1
    auto_promote = true
    auto_revert  = true
  }

  group "api" {
    count = 4
    network {
      port "http" {}
    }
    service {
      name     = "api"
      provider = "nomad"
      port     = "http"
      check {
        type     = "http"
        path     = "/live"
        interval = "5s"
        timeout  = "1s"
        check_restart {
          limit = 5
        }
      }
    }
    task "api" {
      driver = "docker"
      config {
        image = local.image.api
        ports = ["http"]
      }
      env {
        PORT     = "${NOMAD_PORT_http}"
        AUTH_URL = "http://auth.service"
      }
    }
    task "envoy" {
      driver = "docker"
      lifecycle {
        hook    = "prestart"
        sidecar = true
      }
      config {
        image = "envoyproxy/envoy:v1.31.0"
      }
      resources {
        cpu    = 50
        memory = 64
      }
    }
  }

  group "auth" {
    count = 2
    network {
      port "http" {}
    }
    service {
      name     = "auth"
      provider = "nomad"
      port     = "http"
    }
    task "auth" {
      driver = "docker"
      config {
        image = local.image["auth"]
        ports = ["http"]
      }
    }
  }

  group "search" {
    count = 1
    update {
      canary       = 0
      auto_promote = false
    }
    network {
      port "http" {}
    }
    task "search" {
      driver = "java"
      artifact {
        source      = "https://dl.example/search-${var.tag}.jar"
        destination = "local/search.jar"
        mode        = "file"
      }
      config {
        jar_path    = "local/search.jar"
        jvm_options = ["-Xmx${1024 - 256}m"]
      }
      resources {
        cpu    = 800
        memory = 1024
      }
    }
  }
}
