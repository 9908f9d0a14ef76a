job "vm" {
  group "g" {
    network {
      port "ssh" {}
    }
    task "vm" {
      driver = "qemu"
      artifact {
        source = "https://images.example/small.qcow2"
      }
      config {
        image_path        = "local/small.qcow2"
        accelerator       = "kvm"
        machine_type      = "q35"
        drive_interface   = "virtio"
        graceful_shutdown = true
        guest_agent       = true
        args              = ["-nodefaults", "-nographic"]
        port_map {
          ssh = 22
        }
      }
    }
  }
}
