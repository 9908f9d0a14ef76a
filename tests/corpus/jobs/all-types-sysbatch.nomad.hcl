job "kind-sysbatch" {
  type = "sysbatch"
  group "g" {
    task "t" {
      driver = "mock_driver"
      config {
        run_for = "2s"
      }
    }
  }
}
