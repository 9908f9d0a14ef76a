job "artifacts" {
  group "g" {
    task "t" {
      driver = "exec"
      artifact {
        source = "https://dl.example/tool-1.2.tar.gz"
        options {
          checksum = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
        }
      }
      artifact {
        source      = "https://dl.example/data.bin"
        destination = "local/data/model.bin"
        mode        = "file"
        headers {
          Authorization = "Bearer ${NOMAD_META_token}"
          X-Trace       = "1"
        }
      }
      artifact {
        source = "https://dl.example/plain"
        mode   = "file"
      }
      artifact {
        source      = "git::https://git.example/team/repo.git"
        destination = "local/repo"
        options {
          ref   = "v2"
          depth = 1
        }
      }
      artifact {
        source   = "s3::https://s3.example/bucket/key"
        insecure = true
        chown    = true
        options {
          archive = "false"
        }
      }
      config { command = "local/tool" }
    }
  }
}
