"""Runs one allocation: its directories, its network, its tasks in their order, its health."""
