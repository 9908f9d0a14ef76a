"""Rove: a workload orchestrator."""

__version__ = "0.1.0"
