variable "limits" {
  type = object({
    cpu    = number
    memory = optional(number, 256)
    tags   = optional(list(string), [])
  })
  default = {
    cpu  = 200
    tags = ["a", "b"]
  }
}
variable "labels" {
  type    = map(string)
  default = { team = "blue", tier = "1" }
}
variable "pair" {
  type    = tuple([string, number])
  default = ["x", 7]
}
variable "zones" {
  type    = set(string)
  default = ["b", "a", "b"]
}
variable "anything" {
  type    = any
  default = { deep = [{ a = 1 }] }
}
job "typed" {
  meta = var.labels
  group "g" {
    count = var.pair[1]
    task "t" {
      driver = "raw_exec"
      config {
        command = "x"
        args    = concat(var.limits.tags, [var.pair[0]])
      }
      resources {
        cpu    = var.limits.cpu
        memory = var.limits.memory
      }
      env {
        ZONES = join(",", var.zones)
        DEEP  = var.anything.deep[0].a
      }
    }
  }
}
