job "placed" {
  region    = "eu"
  namespace = "team-1"
  node_pool = "gpu"
  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
