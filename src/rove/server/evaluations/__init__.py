"""Evaluations: the queue they wait in (`core`), and the workers that carry them out (`loop`)."""
