job "meta-block" {
  meta {
    a = "1"
    b = "2"
  }
  group "g" {
    meta {
      c = "3"
    }
    task "t" {
      driver = "raw_exec"
      meta {
        d = "4"
      }
      env {
        E = "${meta.d}"
        N = "${NOMAD_META_a}"
      }
      config { command = "env" }
    }
  }
}
