job "fixed-port" {
  group "g" {
    service {
      name     = "legacy"
      provider = "nomad"
      port     = 8080
      address  = "legacy.example.org"
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
