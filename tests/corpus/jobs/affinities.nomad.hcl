job "affinities" {
  affinity {
    attribute = "${node.datacenter}"
    value     = "dc1"
    weight    = 80
  }
  affinity {
    attribute = "${attr.kernel.version}"
    version   = "< 4.0"
    weight    = -60
  }
  group "g" {
    affinity {
      attribute = "${meta.disk}"
      operator  = "set_contains_any"
      value     = "ssd,nvme"
    }
    affinity {
      attribute        = "${meta.disk}"
      set_contains_any = "tape"
      weight           = -100
    }
    task "t" {
      driver = "raw_exec"
      affinity {
        attribute = "${attr.unique.hostname}"
        regexp    = "^quiet-"
        weight    = 10
      }
      config { command = "true" }
    }
  }
}
