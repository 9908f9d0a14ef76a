job "host-networks" {
  group "g" {
    network {
      mode = "host"
      port "public" {
        static       = 443
        host_network = "public"
      }
      port "private" {
        static       = 443
        host_network = "private"
      }
      port "shared" {
        static           = 8600
        ignore_collision = true
      }
      port "any" {}
    }
    task "proxy" {
      driver = "raw_exec"
      config { command = "proxy" }
    }
  }
}
