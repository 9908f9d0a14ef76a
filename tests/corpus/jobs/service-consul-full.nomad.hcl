job "svc-consul" {
  group "g" {
    network {
      port "http" {}
      port "admin" {}
    }
    service {
      name                = "shop"
      port                = "http"
      address_mode        = "host"
      enable_tag_override = true
      on_update           = "ignore_warnings"
      cluster             = "default"
      meta {
        version = "12"
      }
      canary_meta {
        version = "13"
      }
      tagged_addresses {
        lan = "10.1.2.3"
        wan = "203.0.113.7"
      }
      weights {
        passing = 5
        warning = 1
      }
      check_restart {
        limit           = 4
        grace           = "90s"
        ignore_warnings = true
      }
      check {
        type            = "http"
        protocol        = "https"
        path            = "/status"
        interval        = "15s"
        timeout         = "4s"
        port            = "admin"
        tls_skip_verify = true
        tls_server_name = "shop.internal"
        initial_status  = "passing"
        notes           = "answers when the cache is warm"
        body            = "{\"probe\": true}"
        method          = "POST"

        success_before_passing   = 2
        failures_before_critical = 3
        failures_before_warning  = 1
      }
      check {
        type     = "tcp"
        interval = "10s"
        timeout  = "2s"
      }
      check {
        type         = "grpc"
        grpc_service = "shop.Health"
        grpc_use_tls = true
        port         = "admin"
        interval     = "20s"
        timeout      = "5s"
      }
      check {
        type     = "script"
        task     = "t"
        command  = "/bin/check"
        args     = ["--deep"]
        interval = "60s"
        timeout  = "10s"
      }
    }
    task "t" {
      driver = "raw_exec"
      config { command = "shop" }
    }
  }
}
