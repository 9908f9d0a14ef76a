job "redis" {
  datacenters = ["*"]
  group "cache" {
    network {
      port "db" {
        to = 6379
      }
    }
    service {
      name     = "redis"
      port     = "db"
      provider = "nomad"
      check {
        type     = "tcp"
        interval = "10s"
        timeout  = "2s"
      }
    }
    ephemeral_disk {
      sticky  = true
      migrate = true
      size    = 1000
    }
    task "redis" {
      driver = "docker"
      config {
        image = "redis:7.4"
        ports = ["db"]
        args  = ["--save", "60", "1", "--dir", "/alloc/data"]
      }
      resources {
        cpu    = 500
        memory = 256
      }
    }
  }
}
