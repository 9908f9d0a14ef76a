job "csi-volumes" {
  group "g" {
    count = 3
    volume "shard" {
      type            = "csi"
      source          = "shards"
      per_alloc       = true
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"
      mount_options {
        fs_type     = "ext4"
        mount_flags = ["noatime", "nodiratime"]
      }
    }
    task "t" {
      driver = "docker"
      volume_mount {
        volume      = "shard"
        destination = "/data"
      }
      config { image = "store:5" }
    }
  }
}
