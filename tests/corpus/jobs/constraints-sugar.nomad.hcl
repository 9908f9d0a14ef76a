job "constraint-sugar" {
  constraint {
    attribute = "${attr.kernel.version}"
    version   = ">= 4.19"
  }
  constraint {
    attribute = "${attr.consul.version}"
    semver    = ">= 1.8.0"
  }
  constraint {
    attribute = "${node.class}"
    regexp    = "^(small|large)$"
  }
  constraint {
    attribute    = "${meta.roles}"
    set_contains = "web"
  }
  constraint {
    distinct_hosts = true
  }
  constraint {
    distinct_property = "${meta.zone}"
  }
  group "g" {
    count = 2
    task "t" {
      driver = "raw_exec"
      config { command = "true" }
    }
  }
}
