"""Garbage collection: forgetting what is over."""
