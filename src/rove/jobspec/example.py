"""The job files that `rove job init` writes."""

from __future__ import annotations

EXAMPLE_JOB_SHORT = """\
job "hello" {
  group "web" {
    network {
      port "http" {}
    }

    task "server" {
      driver = "raw_exec"

      config {
        command = "python3"
        args    = ["-m", "http.server", "${NOMAD_PORT_http}", "--bind", "${NOMAD_IP_http}"]
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
"""

EXAMPLE_JOB = """\
# A job says what should run; Rove decides where, starts it and keeps it running.
#
#   rove job plan example.nomad.hcl    what would change
#   rove job run example.nomad.hcl     make it so
#   rove job status hello              how it is doing
#   rove job stop hello                take it away

# Values that differ between places are variables: rove job run -var copies=4 example.nomad.hcl
variable "copies" {
  type        = number
  default     = 2
  description = "How many copies of the web server run"
}

job "hello" {
  # service: runs until it is stopped. Others: batch (ends by itself), system (one on every node),
  # sysbatch (once on every node).
  type = "service"

  # Where it may run. "*" is every datacenter; patterns such as "eu-*" work too.
  datacenters = ["*"]

  # Only nodes that meet every constraint are considered.
  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  # How a new version replaces the old one: one copy at a time, each healthy for 10 seconds before the
  # next; if a copy does not become healthy, the version before comes back.
  update {
    max_parallel     = 1
    min_healthy_time = "10s"
    healthy_deadline = "2m"
    auto_revert      = true
    # canary = 1      # try the new version beside the old one first; `rove job promote hello` goes on
  }

  # The tasks of a group always run together on one node.
  group "web" {
    count = var.copies

    # A port without a number is given one that is free, so copies can share a node.
    network {
      port "http" {}
    }

    # What others look for, and how Rove knows that a copy works.
    service {
      name     = "hello"
      provider = "nomad"
      port     = "http"

      check {
        type     = "http"
        path     = "/"
        interval = "10s"
        timeout  = "2s"
      }
    }

    # A task that fails is started again on its node, at most 2 times in 10 minutes; after that the
    # whole group moves to another node.
    restart {
      attempts = 2
      interval = "10m"
      delay    = "5s"
      mode     = "fail"
    }

    # A stopping copy disappears from the list of services first, then from the machine.
    shutdown_delay = "2s"

    task "server" {
      # raw_exec runs a program of the node as it is. With a container engine on the nodes:
      #   driver = "docker"
      #   config {
      #     image = "nginx:1.27"
      #     ports = ["http"]
      #   }
      driver = "raw_exec"

      config {
        command = "python3"
        args = [
          "-u", "-m", "http.server", "${NOMAD_PORT_http}",
          "--bind", "${NOMAD_IP_http}", "--directory", "local",
        ]
      }

      # Programs and archives are fetched into local/ before the task starts:
      #   artifact {
      #     source = "https://example.org/site.tar.gz"
      #     options { checksum = "sha256:..." }
      #   }

      # What the task finds in its environment, besides NOMAD_ALLOC_INDEX, NOMAD_PORT_http and the like.
      env {
        GREETING = "hello from copy ${NOMAD_ALLOC_INDEX}"
      }

      # cpu in MHz, memory in MB.
      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
"""
