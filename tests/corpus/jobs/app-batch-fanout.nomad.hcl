variable "files" {
  type    = list(string)
  default = ["a.csv", "b.csv", "c d.csv"]
}
job "fanout" {
  type = "batch"
  dynamic "group" {
    for_each = { for i, file in var.files : i => file }
    iterator = part
    labels   = [format("part-%02d", part.key)]
    content {
      task "import" {
        driver = "raw_exec"
        config {
          command = "import"
          args    = ["--file", part.value]
        }
      }
    }
  }
}
