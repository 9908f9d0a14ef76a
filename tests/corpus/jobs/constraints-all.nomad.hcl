job "constraints" {
  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }
  constraint {
    attribute = "${attr.cpu.arch}"
    operator  = "!="
    value     = "arm"
  }
  constraint {
    attribute = "${attr.cpu.numcores}"
    operator  = ">="
    value     = "4"
  }
  constraint {
    attribute = "${attr.memory.totalbytes}"
    operator  = ">"
    value     = "1000000000"
  }
  constraint {
    attribute = "${attr.kernel.version}"
    operator  = "version"
    value     = ">= 5.4, < 7.0"
  }
  constraint {
    attribute = "${attr.nomad.version}"
    operator  = "semver"
    value     = ">= 1.4.0"
  }
  constraint {
    attribute = "${node.unique.name}"
    operator  = "regexp"
    value     = "^web-[0-9]+$"
  }
  constraint {
    attribute = "${meta.features}"
    operator  = "set_contains"
    value     = "ssd,gpu"
  }
  constraint {
    attribute = "${meta.features}"
    operator  = "set_contains_any"
    value     = "ssd,nvme"
  }
  constraint {
    attribute = "${meta.rack}"
    operator  = "is_set"
  }
  constraint {
    attribute = "${meta.retired}"
    operator  = "is_not_set"
  }
  constraint {
    operator = "distinct_hosts"
    value    = "true"
  }

  group "g" {
    constraint {
      operator  = "distinct_property"
      attribute = "${meta.rack}"
      value     = "2"
    }
    task "t" {
      driver = "raw_exec"
      constraint {
        attribute = "${attr.driver.raw_exec}"
        operator  = "is"
        value     = "1"
      }
      config { command = "true" }
    }
  }
}
