job "secretive" {
  vault {
    role = "apps"
  }
  secret "shared" {
    provider = "nomad"
    path     = "nomad/jobs/secretive"
  }
  group "a" {
    secret "grouped" {
      provider = "vault"
      path     = "kv/data/app"
      config {
        engine = "kv_v2"
      }
    }
    task "one" {
      driver = "raw_exec"
      secret "own" {
        provider = "nomad"
        path     = "nomad/jobs/secretive/a/one"
        env {
          TOKEN = "x"
        }
      }
      env {
        PASSWORD = "${secret.own.password}"
        USER     = "${secret.shared.user}"
      }
      config { command = "x" }
    }
    task "two" {
      driver = "raw_exec"
      vault {
        role          = "special"
        namespace     = "ns"
        change_mode   = "signal"
        change_signal = "sigusr2"
        env           = false
        disable_file  = true

        allow_token_expiration = true
      }
      config { command = "y" }
    }
  }
  group "b" {
    vault {
      policies = ["legacy"]
    }
    task "three" {
      driver = "raw_exec"
      config { command = "z" }
    }
  }
}
