job "gpu" {
  group "g" {
    task "train" {
      driver = "docker"
      config { image = "trainer:7" }
      resources {
        cpu    = 8000
        memory = 16000
        device "nvidia/gpu" {
          count = 2
          constraint {
            attribute = "${device.attr.memory}"
            operator  = ">="
            value     = "8 GiB"
          }
          affinity {
            attribute = "${device.model}"
            regexp    = "A100"
            weight    = 75
          }
        }
        device "fpga" {}
        device "intel/gpu/arc" {
          count = 1
        }
        numa {
          affinity = "require"
          devices  = ["nvidia/gpu"]
        }
      }
    }
  }
}
