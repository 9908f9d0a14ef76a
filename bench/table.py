"""A table of figures: printed line by line as they are measured, and kept for JSON."""

from __future__ import annotations

import argparse
from typing import Any


class Table:
    """Rows of name, unit, value, asked."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def row(self, name: str, unit: str, value: float, asked: str, note: str = "") -> None:
        """Add a figure and print it. asked: what was promised, the aim in brackets."""
        self.rows.append({"name": name, "unit": unit, "value": round(value, 2), "asked": asked})
        print(f"{name:58} {value:10.2f} {unit:8} asked: {asked}{note}", flush=True)


def is_quick(description: str | None) -> bool:
    """Read the command line: was --quick given?"""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--quick", action="store_true", help="fewer runs")
    return bool(options.parse_args().quick)
