"""Periodic jobs: launching a child at each of their times."""

from .loop import Periodics

__all__ = ["Periodics"]
