# A program fetched from an artifact server, checked, and run straight on the machine.
#
#   rove job run -var artifact_server=http://127.0.0.1:8000 -var checksum=sha256:... examples/raw-binary.nomad.hcl

variable "artifact_server" {
  type        = string
  description = "Where my_service is kept."
  default     = "http://127.0.0.1:8000"
}

variable "checksum" {
  type        = string
  description = "Checksum of my_service, for instance md5:... or sha256:..."
}

job "raw-binary" {
  datacenters = ["*"]

  group "app" {
    task "worker" {
      driver = "raw_exec"

      config {
        # One string: split into words, no shell involved.
        command = "my_service --arg1=test1 --arg2=test2"
      }

      artifact {
        source = "${var.artifact_server}/my_service"

        options {
          checksum = "${var.checksum}"
        }
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
