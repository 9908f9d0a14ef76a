job "logs" {
  type = "system"
  group "shipper" {
    network {
      mode = "host"
      port "api" {
        static = 8686
      }
    }
    volume "docker-sock" {
      type      = "host"
      source    = "docker-sock"
      read_only = true
    }
    service {
      name     = "vector"
      port     = "api"
      provider = "nomad"
      check {
        type     = "http"
        path     = "/health"
        interval = "30s"
        timeout  = "5s"
      }
    }
    task "vector" {
      driver = "docker"
      config {
        image        = "timberio/vector:0.41.1-alpine"
        network_mode = "host"
        ports        = ["api"]
      }
      volume_mount {
        volume      = "docker-sock"
        destination = "/var/run/docker.sock"
        read_only   = true
      }
      template {
        destination     = "local/vector.toml"
        change_mode     = "signal"
        change_signal   = "SIGHUP"
        left_delimiter  = "[["
        right_delimiter = "]]"
        data            = <<-EOH
          data_dir = "alloc/data"
          [sources.docker]
            type = "docker_logs"
          [transforms.only]
            type = "filter"
            inputs = ["docker"]
            condition = '.container_name != "vector"'
          [sinks.out]
            type = "loki"
            inputs = ["only"]
            endpoint = "http://[[ env "attr.unique.network.ip-address" ]]:3100"
            labels.host = "{{ host }}"
        EOH
      }
      env {
        VECTOR_CONFIG = "local/vector.toml"
      }
      kill_timeout = "30s"
      resources {
        cpu        = 200
        memory     = 128
        memory_max = 256
      }
    }
  }
}
