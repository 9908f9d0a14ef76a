job "quorum" {
  group "member" {
    count = 3
    constraint {
      distinct_hosts = true
    }
    spread {
      attribute = "${node.datacenter}"
    }
    network {
      mode = "bridge"
      port "client" {
        static = 2379
      }
      port "peer" {
        static = 2380
      }
    }
    volume "data" {
      type            = "host"
      source          = "etcd"
      per_alloc       = false
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"
    }
    update {
      max_parallel     = 1
      min_healthy_time = "30s"
      healthy_deadline = "8m"
    }
    disconnect {
      lost_after = "1h"
      replace    = false
    }
    service {
      name     = "quorum-client"
      port     = "client"
      provider = "nomad"
    }
    service {
      name     = "quorum-peer-${NOMAD_ALLOC_INDEX}"
      port     = "peer"
      provider = "nomad"
    }
    task "member" {
      driver = "docker"
      config {
        image = "quay.io/coreos/etcd:v3.5.16"
        ports = ["client", "peer"]
        args = [
          "--name=member-${NOMAD_ALLOC_INDEX}",
          "--data-dir=/data",
          "--listen-client-urls=http://0.0.0.0:2379",
          "--listen-peer-urls=http://0.0.0.0:2380",
        ]
      }
      volume_mount {
        volume      = "data"
        destination = "/data"
      }
      kill_signal  = "SIGTERM"
      kill_timeout = "20s"
    }
  }
}
