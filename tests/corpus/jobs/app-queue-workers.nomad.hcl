locals {
  queues = {
    mail    = { workers = 2, memory = 128 }
    reports = { workers = 1, memory = 1024 }
    images  = { workers = 4, memory = 512 }
  }
}
job "workers" {
  dynamic "group" {
    for_each = local.queues
    iterator = queue
    labels   = [queue.key]
    content {
      count = queue.value.workers
      update {
        max_parallel = ceil(queue.value.workers / 2)
      }
      task "worker" {
        driver = "docker"
        config {
          image = "jobs:{{ deployments/jobs_version }}"
          args  = ["work", "--queue", queue.key]
        }
        resources {
          cpu    = 200 * queue.value.workers
          memory = queue.value.memory
        }
      }
    }
  }
}
