locals {
  ports = {
    http  = 80
    https = 443
    admin = 9000
  }
}
job "dynamic-ports" {
  group "g" {
    network {
      mode = "bridge"
      dynamic "port" {
        for_each = local.ports
        iterator = each
        labels   = [each.key]
        content {
          to = each.value
        }
      }
    }
    dynamic "service" {
      for_each = local.ports
      content {
        name     = "svc-${service.key}"
        provider = "nomad"
        port     = service.key
      }
    }
    task "t" {
      driver = "docker"
      config {
        image = "proxy:2"
        ports = keys(local.ports)
      }
    }
  }
}
