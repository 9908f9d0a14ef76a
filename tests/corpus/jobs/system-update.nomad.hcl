job "node-exporter" {
  type = "system"
  update {
    max_parallel     = 5
    canary           = 20
    auto_promote     = true
    min_healthy_time = "5s"
  }
  group "exporter" {
    network {
      port "metrics" {
        static = 9100
      }
    }
    task "exporter" {
      driver = "raw_exec"
      config {
        command = "node_exporter"
        args    = ["--web.listen-address=:${NOMAD_PORT_metrics}"]
      }
    }
  }
}
