"""The DNS responder for services: `wire` reads and writes messages, `core` answers, `loop` listens."""
