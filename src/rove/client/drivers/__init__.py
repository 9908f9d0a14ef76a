"""Task drivers, a file each behind `base.Driver`."""
