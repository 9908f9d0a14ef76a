"""Health checks of services: `core` judges results, `probes` asks, `loop` repeats."""
