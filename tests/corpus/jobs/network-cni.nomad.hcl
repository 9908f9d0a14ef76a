job "cni" {
  group "g" {
    network {
      mode = "cni/macvlan0"
      cni {
        args = {
          "app.team" = "blue"
          vlan       = 12
        }
      }
      port "http" { to = 80 }
    }
    task "t" {
      driver = "docker"
      config { image = "nginx:1.27" }
    }
  }
}
