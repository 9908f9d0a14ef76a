job "shop" {
  datacenters = ["*"]
  group "web" {
    count = 3
    update {
      canary       = 1
      auto_promote = true
      auto_revert  = true
      gate "answers" {
        address = "https://shop.example.com/health"
        expect  = "200"
        passes  = 3
      }
      gate "few-errors" {
        type     = "prometheus"
        address  = "http://prometheus.example.com:9090"
        query    = "sum(rate(errors{release='canary'}[1m])) / sum(rate(requests{release='canary'}[1m]))"
        expect   = "< 0.05"
        interval = "1m"
        timeout  = "5s"
        failures = 2
      }
      gate "smoke" {
        type    = "script"
        task    = "server"
        command = "/local/smoke.sh"
        args    = ["--quick"]
      }
    }
    task "server" {
      driver = "raw_exec"
      config {
        command = "server"
      }
    }
  }
}
