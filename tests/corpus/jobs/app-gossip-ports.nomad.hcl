job "gossip" {
  group "node" {
    count = 3
    network {
      port "rpc" {}
      port "gossip_tcp" { to = -1 }
      port "gossip-udp" { to = -1 }
    }
    task "node" {
      driver = "raw_exec"
      config {
        command = "noded"
        args = [
          "-rpc=${NOMAD_IP_rpc}:${NOMAD_PORT_rpc}",
          "-gossip=${NOMAD_HOST_PORT_gossip_tcp}",
        ]
      }
    }
  }
}
