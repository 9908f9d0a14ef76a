variable "env" {
  default = "prod"
}
locals {
  prefix = "shop-${var.env}"
  full   = "${local.prefix}-web"
  tags   = [local.prefix, "x"]
}
locals {
  sizes = {
    prod = 4
    dev  = 1
  }
  count = lookup(local.sizes, var.env, 2)
}
job "locals" {
  name = local.full
  group "g" {
    count = local.count
    network {
      port "http" {}
    }
    service {
      name     = local.full
      provider = "nomad"
      port     = "http"
      tags     = local.tags
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
