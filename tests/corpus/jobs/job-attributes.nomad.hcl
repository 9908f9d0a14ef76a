job "everything-on-top" {
  name        = "Everything on top"
  region      = "north"
  namespace   = "team-a"
  type        = "service"
  priority    = 65
  all_at_once = true
  datacenters = ["north-1", "north-2", "edge-*"]
  node_pool   = "big_iron"

  meta {
    owner   = "platform"
    contact = "platform@example.org"
  }

  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "true" }
    }
  }
}
