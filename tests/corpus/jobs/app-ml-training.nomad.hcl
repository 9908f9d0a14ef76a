variable "epochs" {
  type    = number
  default = 10
}
variable "learning_rate" {
  type    = number
  default = 0.0005
}
job "train" {
  type     = "batch"
  priority = 30
  parameterized {
    payload       = "optional"
    meta_required = ["dataset"]
    meta_optional = ["resume"]
  }
  group "gpu" {
    max_run_duration = "48h"
    affinity {
      attribute = "${meta.gpu_generation}"
      operator  = ">="
      value     = "8"
      weight    = 60
    }
    restart {
      attempts = 2
      interval = "24h"
      delay    = "1m"
      mode     = "fail"
    }
    ephemeral_disk {
      size = 50000
    }
    task "train" {
      driver = "docker"
      dispatch_payload {
        file = "hyper.json"
      }
      config {
        image    = "trainer:3"
        shm_size = 2147483648
        args = [
          "--dataset", "${NOMAD_META_dataset}",
          "--epochs", var.epochs,
          "--lr", format("%.4f", var.learning_rate),
        ]
      }
      resources {
        cores      = 8
        memory     = 32768
        memory_max = 65536
        device "nvidia/gpu" {
          count = 1
        }
      }
    }
  }
}
