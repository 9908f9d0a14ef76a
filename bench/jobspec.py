"""The figures of the job language: reading a job, a big one, importing, and checking a file as a whole process.

``python -m bench.jobspec`` prints a table; `run` gives the rows to whoever gathers all figures.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.table import Table, is_quick

GROUP = """
  group "api{n}" {{
    count = 3

    network {{
      port "http" {{
        to = 8080
      }}
    }}

    restart {{
      attempts = 3
      interval = "10m"
      delay    = "15s"
      mode     = "delay"
    }}

    service {{
      name     = "api{n}"
      port     = "http"
      provider = "nomad"
      tags     = ["web", "version-${{var.version}}"]

      check {{
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "2s"
      }}
    }}

    task "app" {{
      driver = "docker"

      config {{
        image = "registry.example.com/api:${{var.version}}"
        ports = ["http"]
        args  = ["-listen", ":${{NOMAD_PORT_http}}", "-zone", upper("eu-${{attr.platform.zone}}")]
      }}

      env {{
        LOG_LEVEL = "info"
        PEERS     = join(",", [for peer in local.peers : "${{peer}}:8080"])
      }}

      template {{
        destination = "local/app.conf"
        change_mode = "signal"
        data        = <<-EOT
          name = ${{var.version}}
          {{{{ range service "db" }}}}
          server {{{{ .Address }}}}:{{{{ .Port }}}}
          {{{{ end }}}}
        EOT
      }}

      resources {{
        cpu    = 250
        memory = 128
      }}
    }}
  }}
"""
HEAD = """variable "version" {
  type    = string
  default = "1.4.2"
}

locals {
  peers = ["a", "b", "c"]
}

job "web" {
  datacenters = ["dc1", "dc2"]
  type        = "service"

  update {
    max_parallel = 1
    canary       = 1
    auto_promote = true
    auto_revert  = true
  }

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  affinity {
    attribute = "${node.class}"
    value     = "fast"
    weight    = 75
  }

  spread {
    attribute = "${node.datacenter}"

    target "dc1" {
      percent = 60
    }
  }

  meta {
    owner = "shop"
  }
"""
ONE_MB = 1_000_000


def text_of(groups: int) -> str:
    """A job file with that many groups: one of them makes about 100 lines."""
    return HEAD + "".join(GROUP.format(n=number) for number in range(groups)) + "}\n"


def timed_ms(work: Callable[[], Any], runs: int) -> float:
    """The median time of `work`, in milliseconds."""
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def read(text: str) -> None:
    """Text to canonical job."""
    from rove.jobspec import canonicalize, parse_job

    canonicalize(parse_job(text).api)


def import_ms(code: str) -> float:
    """How long a fresh interpreter takes for an import."""
    timed = f"import time; a = time.perf_counter(); {code}; print((time.perf_counter() - a) * 1000)"
    done = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
    return float(done.stdout)


def validate_process(path: Path) -> None:
    """``rove job validate`` where no agent answers."""
    env = {**os.environ, "ROVE_ADDR": "http://127.0.0.1:1"}
    subprocess.run(
        [sys.executable, "-m", "rove", "job", "validate", str(path)], env=env, check=True, capture_output=True
    )


def run(quick: bool = False) -> list[dict[str, Any]]:
    """All figures as rows: name, unit, measured, asked."""
    table = Table()
    row = table.row

    small = text_of(1)
    big = text_of(ONE_MB // len(GROUP) + 1)
    read(small)
    lines = small.count("\n")
    row(
        f"a job of {lines} lines, text to canonical struct, p50",
        "ms",
        timed_ms(lambda: read(small), 50 if quick else 300),
        "<= 3",
    )
    seconds = timed_ms(lambda: read(big), 1 if quick else 5) / 1000
    row(f"{len(big) / ONE_MB:.2f} MB of job, text to canonical struct", "s", seconds, "<= 3")
    for name, code, asked in (
        ("import rove.jobspec, p50", "import rove.jobspec", "<= 60"),
        ("the same with all that reads a job, p50", "from rove.jobspec import parse_job, canonicalize", "(60)"),
    ):
        row(name, "ms", statistics.median(import_ms(code) for _ in range(5 if quick else 15)), asked)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "web.nomad.hcl")
        path.write_text(small)
        validate_process(path)
        taken = timed_ms(lambda: validate_process(path), 5 if quick else 15)
    row("rove job validate, whole process, p50", "ms", taken, "<= 250")
    return table.rows


def main() -> None:
    """Print the table."""
    run(is_quick(__doc__))


if __name__ == "__main__":
    main()
