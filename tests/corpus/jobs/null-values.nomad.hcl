variable "maybe" {
  type    = string
  default = null
}
job "nulls" {
  region = var.maybe
  group "g" {
    count = null
    task "t" {
      driver = "raw_exec"
      user   = var.maybe
      config { command = "x" }
    }
  }
}
