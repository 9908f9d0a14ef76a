job "worker" {
  datacenters = ["dc1"]

  group "workers" {
    task "worker" {
      driver = "raw_exec"

      config {
        command = "my_service --arg1=test1 --arg2=test2"
      }

      artifact {
        source = "https://artifacts.example/my_service"

        options {
          checksum = "md5:9e107d9d372bb6826bd81d3542a419d6"
        }
      }
    }
  }
}
