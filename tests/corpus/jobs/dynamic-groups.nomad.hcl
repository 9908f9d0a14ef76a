variable "shards" {
  default = ["alpha", "beta", "gamma"]
}
job "dynamic-groups" {
  dynamic "group" {
    for_each = var.shards
    labels   = ["shard-${group.value}"]
    content {
      count = group.key + 1
      task "t" {
        driver = "raw_exec"
        config {
          command = "shard"
          args    = [group.value]
        }
      }
    }
  }
}
