"""What an allocation offers to others: `core` works it out, `loop` tells the server."""
