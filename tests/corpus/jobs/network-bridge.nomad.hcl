job "bridged" {
  group "g" {
    network {
      mode     = "bridge"
      hostname = "db-${NOMAD_ALLOC_INDEX}"
      port "db" {
        static = 5432
        to     = 5432
      }
      port "metrics" {
        to = -1
      }
      dns {
        servers  = ["10.0.0.2", "10.0.0.3"]
        searches = ["internal.example"]
        options  = ["ndots:2"]
      }
    }
    task "db" {
      driver = "docker"
      config {
        image = "postgres:16"
        ports = ["db"]
      }
    }
  }
}
