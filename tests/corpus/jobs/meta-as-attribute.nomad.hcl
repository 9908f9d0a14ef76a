job "meta-map" {
  meta = {
    "a.b/c"    = "any key"
    plain      = "yes"
    "with dot" = "also"
  }

  group "g" {
    meta = { tier = "front" }
    task "t" {
      driver = "raw_exec"
      meta = {
        build = 42
        debug = true
      }
      env = {
        "JAVA.HOME" = "/opt/java"
        LEVEL       = 3
        RATIO       = 0.25
        VERBOSE     = false
      }
      config { command = "true" }
    }
  }
}
