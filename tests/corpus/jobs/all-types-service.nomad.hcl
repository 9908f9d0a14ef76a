job "kind-service" {
  type     = "service"
  priority = 70
  group "g" {
    task "t" {
      driver = "mock_driver"
      config { run_for = "1h" }
    }
  }
}
