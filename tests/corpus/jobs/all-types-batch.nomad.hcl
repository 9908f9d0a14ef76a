job "kind-batch" {
  type     = "batch"
  priority = 20
  group "g" {
    count = 3
    task "t" {
      driver = "mock_driver"
      config {
        run_for   = "5s"
        exit_code = 0
      }
    }
  }
}
