"""The server: holds state, schedules, decides."""
