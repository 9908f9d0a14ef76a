locals {
  numbers = [3, 9, 4]
  lists   = [["a"], ["b"]]
}
job "expansion" {
  meta {
    max = max(local.numbers...)
    all = join("", concat(local.lists...))
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
