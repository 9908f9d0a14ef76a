job "kind-system" {
  type     = "system"
  priority = 90
  group "g" {
    task "t" {
      driver = "mock_driver"
      config {
        run_for = "240h"
      }
    }
  }
}
