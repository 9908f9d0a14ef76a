locals {
  members = [
    { team = "blue", name = "ann" },
    { team = "red", name = "bob" },
    { team = "blue", name = "cid" },
  ]
  by_team = { for m in local.members : m.team => m.name... }
}
job "grouping" {
  meta = { for team, names in local.by_team : team => join("+", names) }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "x"
        args    = local.members[*].name
      }
    }
  }
}
