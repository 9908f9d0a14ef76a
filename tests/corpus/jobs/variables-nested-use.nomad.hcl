variable "services" {
  type = list(object({
    name  = string
    port  = number
    tags  = optional(list(string), ["default"])
    check = optional(object({ path = string, every = optional(string, "10s") }))
  }))
  default = [
    { name = "one", port = 8001, check = { path = "/a" } },
    { name = "two", port = 8002, tags = ["x", "y"] },
  ]
}
job "nested-use" {
  group "g" {
    network {
      dynamic "port" {
        for_each = var.services
        labels   = [port.value.name]
        content {
          static = port.value.port
        }
      }
    }
    dynamic "service" {
      for_each = var.services
      iterator = svc
      content {
        name     = svc.value.name
        port     = svc.value.name
        provider = "nomad"
        tags     = svc.value.tags
        dynamic "check" {
          for_each = svc.value.check == null ? [] : [svc.value.check]
          content {
            type     = "http"
            path     = check.value.path
            interval = check.value.every
            timeout  = "2s"
          }
        }
      }
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
