variable "teams" {
  type = map(object({ image = string, vars = map(string) }))
  default = {
    blue = { image = "blue:1", vars = { A = "1" } }
    red  = { image = "red:2", vars = { B = "2", C = "3" } }
  }
}
job "nested-dynamic" {
  dynamic "group" {
    for_each = var.teams
    iterator = team
    labels   = [team.key]
    content {
      task "app" {
        driver = "docker"
        config {
          image = team.value.image
        }
        dynamic "template" {
          for_each = team.value.vars
          content {
            destination = "local/${template.key}.txt"
            data        = "${team.key}: ${template.value}"
          }
        }
      }
    }
  }
}
