job "lifecycles" {
  group "g" {
    task "migrate" {
      driver = "raw_exec"
      lifecycle {
        hook = "prestart"
      }
      config { command = "migrate" }
    }
    task "log-shipper" {
      driver = "raw_exec"
      lifecycle {
        hook    = "prestart"
        sidecar = true
      }
      config { command = "ship" }
    }
    task "announce" {
      driver = "raw_exec"
      lifecycle {
        hook = "poststart"
      }
      config { command = "announce" }
    }
    task "cleanup" {
      driver = "raw_exec"
      lifecycle {
        hook = "poststop"
      }
      config { command = "cleanup" }
    }
    task "main" {
      driver = "raw_exec"
      leader = true
      config { command = "main" }
    }
  }
}
