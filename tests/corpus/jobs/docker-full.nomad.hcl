job "docker-full" {
  group "g" {
    network {
      mode = "bridge"
      port "http" { to = 80 }
      port "https" { to = 443 }
    }
    task "t" {
      driver = "docker"
      config {
        image              = "registry.example:5000/team/web:1.2.3"
        command            = "/bin/web"
        args               = ["-v", "--port=${NOMAD_PORT_http}"]
        entrypoint         = ["/init", "--"]
        ports              = ["http", "https"]
        auth_soft_fail     = true
        force_pull         = true
        image_pull_timeout = "10m"
        hostname           = "web"
        interactive        = false
        tty                = false
        init               = true
        privileged         = false
        readonly_rootfs    = true
        network_mode       = "bridge"
        network_aliases    = ["web"]
        ipc_mode           = "private"
        pid_mode           = ""
        userns_mode        = ""
        uts_mode           = ""
        cgroupns           = "private"
        runtime            = "runc"
        work_dir           = "/srv"
        shm_size           = 67108864
        cpu_hard_limit     = true
        cpu_cfs_period     = 100000
        memory_hard_limit  = 512
        pids_limit         = 256
        oom_score_adj      = 100
        cpuset_cpus        = "0-1"
        mac_address        = "02:68:b3:29:da:98"
        ipv4_address       = "172.18.0.10"
        cap_add            = ["net_bind_service"]
        cap_drop           = ["mknod"]
        dns_servers        = ["1.1.1.1"]
        dns_search_domains = ["example.internal"]
        dns_options        = ["timeout:1"]
        extra_hosts        = ["db:10.0.0.5"]
        group_add          = ["audio"]
        security_opt       = ["no-new-privileges"]
        volumes            = ["local/www:/srv/www:ro", "../alloc/data:/data"]
        volume_driver      = "local"

        container_exists_attempts = 3

        auth {
          username       = "robot"
          password       = "${NOMAD_SECRETS_DIR}/pw"
          server_address = "registry.example:5000"
        }
        labels = {
          team  = "blue"
          "a.b" = "dotted"
        }
        logging {
          type = "json-file"
          config {
            max-file = "3"
            max-size = "10m"
          }
        }
        mount {
          type     = "bind"
          source   = "local/conf"
          target   = "/etc/web"
          readonly = true
          bind_options {
            propagation = "rshared"
          }
        }
        mount {
          type   = "tmpfs"
          target = "/tmp"
          tmpfs_options {
            size = 100000
            mode = 511
          }
        }
        mount {
          type   = "volume"
          source = "cache"
          target = "/cache"
          volume_options {
            no_copy = true
            labels {
              keep = "yes"
            }
            driver_config {
              name = "local"
              options {
                device = "tmpfs"
              }
            }
          }
        }
        devices = [
          {
            host_path          = "/dev/fuse"
            container_path     = "/dev/fuse"
            cgroup_permissions = "rw"
          },
        ]
        healthchecks {
          disable = true
        }
        storage_opt = {
          size = "10G"
        }
        sysctl = {
          "net.core.somaxconn" = "16384"
        }
        ulimit {
          nproc  = "4242"
          nofile = "2048:4096"
        }
      }
    }
  }
}
