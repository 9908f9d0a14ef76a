job "maintenance" {
  type     = "sysbatch"
  priority = 100
  parameterized {
    meta_required = ["package"]
  }
  constraint {
    attribute = "${attr.os.name}"
    operator  = "set_contains_any"
    value     = "debian,ubuntu"
  }
  group "apt" {
    task "upgrade" {
      driver = "raw_exec"
      user   = "root"
      config {
        command = "/usr/bin/apt-get"
        args    = ["install", "-y", "${NOMAD_META_package}"]
      }
      env {
        DEBIAN_FRONTEND = "noninteractive"
      }
    }
  }
}
