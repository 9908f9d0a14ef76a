"""Nodes as the server sees them: connections, signs of life, what each should run, what each reports."""
