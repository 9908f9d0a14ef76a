variables {
  version = "1.2.3"
  copies  = 4
  names   = ["a", "b"]
}
job "short-variables" {
  group "g" {
    count = var.copies
    task "t" {
      driver = "docker"
      config {
        image = "app:${var.version}"
        args  = [for name in var.names : upper(name)]
      }
    }
  }
}
