"""Runs one task: prepare, start, watch, restart, stop."""
