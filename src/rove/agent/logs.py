"""The agent's own log: lines or JSON on stderr or in a rotated file, and live for `rove monitor`."""

from __future__ import annotations

import asyncio
import json
import logging
import logging.handlers
import os
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from rove.agent.config import AgentConfig

LEVELS = {
    "TRACE": logging.DEBUG,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "OFF": logging.CRITICAL,
}
RECENT_LINES = 512
QUEUE_LINES = 1024


class LineFormat(logging.Formatter):
    """``2026-01-31T12:00:00.000Z [INFO]  rove.server: text``."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as a line, with the trace of an exception below it."""
        return f"{stamp(record.created)} [{level_name(record)}] {record.name}: {text_of(self, record)}"


class JsonFormat(logging.Formatter):
    """One JSON object a line, with the keys that Nomad's logs have."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as an object."""
        entry = {
            "@timestamp": stamp(record.created),
            "@level": level_name(record).lower(),
            "@module": record.name,
            "@message": text_of(self, record),
        }
        return json.dumps(entry)


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def level_name(record: logging.LogRecord) -> str:
    return "WARN" if record.levelno == logging.WARNING else record.levelname


def text_of(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    text = record.getMessage()
    return f"{text}\n{formatter.formatException(record.exc_info)}" if record.exc_info else text


class Monitor(logging.Handler):
    """Keeps the newest records, and hands every new one to those who watch."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._recent: deque[logging.LogRecord] = deque(maxlen=RECENT_LINES)
        self._watchers: set[asyncio.Queue[logging.LogRecord]] = set()
        self._levels: list[int] = []
        self.configured = logging.INFO
        """What the agent's own log is written at; watchers may see more for as long as they watch."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record, from any thread."""
        self._recent.append(record)
        if self._watchers and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hand_out, record)

    def _hand_out(self, record: logging.LogRecord) -> None:
        for queue in self._watchers:
            if not queue.full():  # a slow reader loses lines, the agent does not wait
                queue.put_nowait(record)

    async def follow(self, level: str, as_json: bool) -> AsyncIterator[bytes]:
        """The newest lines, then every new one, at `level` or above."""
        self._loop = asyncio.get_running_loop()
        formatter = JsonFormat() if as_json else LineFormat()
        least = LEVELS.get(level.upper() or "INFO", logging.INFO)
        queue: asyncio.Queue[logging.LogRecord] = asyncio.Queue(QUEUE_LINES)
        recent = list(self._recent)
        self._watchers.add(queue)
        self._levels.append(least)
        _use_levels(self)
        try:
            for record in recent:
                if record.levelno >= least:
                    yield (formatter.format(record) + "\n").encode()
            while True:
                record = await queue.get()
                if record.levelno >= least:
                    yield (formatter.format(record) + "\n").encode()
        finally:
            self._watchers.discard(queue)
            self._levels.remove(least)
            _use_levels(self)


def set_up(config: AgentConfig) -> Monitor:
    """Send all logging of this process where the configuration says."""
    handler: logging.Handler = logging.StreamHandler()
    if config.log_file:
        handler = _file_handler(config)
    handler.setFormatter(JsonFormat() if config.log_json else LineFormat())
    monitor = Monitor()
    root = logging.getLogger()
    for earlier in list(root.handlers):
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.addHandler(monitor)
    set_level(config.log_level, monitor)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    return monitor


def set_level(level: str, monitor: Monitor) -> None:
    """Change how much is logged, now."""
    monitor.configured = LEVELS.get(level.upper(), logging.INFO)
    _use_levels(monitor)


def _use_levels(monitor: Monitor) -> None:
    """Let through what the log or any watcher wants; the log itself keeps to what is configured."""
    root = logging.getLogger()
    for handler in root.handlers:
        if handler is not monitor:
            handler.setLevel(monitor.configured)
    root.setLevel(min([monitor.configured, *monitor._levels]))


def _file_handler(config: AgentConfig) -> logging.Handler:
    path = Path(config.log_file)
    if path.is_dir() or config.log_file.endswith("/"):
        path = path / "rove.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    backups = max(0, config.log_rotate_max_files - 1) if config.log_rotate_max_files else 1000
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=config.log_rotate_bytes, backupCount=backups)
    os.chmod(path, 0o640)
    return handler
