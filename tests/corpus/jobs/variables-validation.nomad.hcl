variable "port" {
  type    = number
  default = 8443
  validation {
    condition     = var.port > 1024 && var.port < 65536
    error_message = "The port must be an unprivileged one."
  }
}
job "validated" {
  group "g" {
    network {
      port "api" {
        static = var.port
      }
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
