# These words are part of the language and have no effect; "operator" is how to say it.
job "sugar-ignored" {
  constraint {
    attribute        = "${meta.a}"
    value            = "x"
    set_contains_all = "x"
    set_contains_any = "y"
    is_set           = "z"
    is_not_set       = "w"
  }
  affinity {
    attribute        = "${meta.a}"
    set_contains_all = "x"
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
