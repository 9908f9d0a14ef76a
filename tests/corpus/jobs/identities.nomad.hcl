job "identities" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      identity {
        env  = true
        file = true
      }
      identity {
        name          = "cloud"
        aud           = ["sts.example", "storage.example"]
        file          = true
        filepath      = "local/token.jwt"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        ttl           = "30m"
        extra_claims {
          team = "blue"
        }
      }
      config { command = "x" }
    }
  }
}
