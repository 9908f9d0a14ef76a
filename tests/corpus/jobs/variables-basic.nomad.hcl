variable "image" {
  type        = string
  default     = "web:1"
  description = "What to run."
}
variable "count" {
  type    = number
  default = 3
}
variable "debug" {
  type    = bool
  default = false
}
variable "datacenters" {
  type    = list(string)
  default = ["dc1", "dc2"]
}
job "vars" {
  datacenters = var.datacenters
  group "g" {
    count = var.count
    task "t" {
      driver = "docker"
      config {
        image = var.image
        args  = var.debug ? ["--debug"] : []
      }
      env {
        REPLICAS = var.count
        NAME     = "web-${var.count}-${NOMAD_ALLOC_INDEX}"
      }
    }
  }
}
