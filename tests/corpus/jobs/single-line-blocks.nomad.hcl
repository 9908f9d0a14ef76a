job "oneliners" {
  group "g" {
    network { mode = "host" }
    ephemeral_disk { size = 400 }
    restart { attempts = 1 }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
      env { A = "1" }
      resources { cpu = 50 }
      logs { max_files = 3 }
    }
  }
}
