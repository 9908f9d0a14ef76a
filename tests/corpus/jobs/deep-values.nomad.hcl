job "deep" {
  group "g" {
    scaling {
      max = 3
      policy {
        a {
          b {
            c {
              d = [[[1, [2, { e = [{ f = { g = null } }] }]]]]
            }
          }
        }
        list = [{ x = 1 }, { x = 2 }]
        item { n = 1 }
        item { n = 2 }
        item { n = 3 }
      }
    }
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
