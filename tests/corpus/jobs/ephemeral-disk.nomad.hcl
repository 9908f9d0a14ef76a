job "disks" {
  group "g" {
    ephemeral_disk {
      size    = 5000
      sticky  = true
      migrate = true
    }
    task "t" {
      driver = "raw_exec"
      logs {
        max_files     = 20
        max_file_size = 50
      }
      config { command = "x" }
    }
  }
}
