"""Streams of JSON values without separators: log and file frames, events."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Iterator
from typing import Any

from rove.errors import UnavailableError

MAX_PENDING = 4 * 1024 * 1024
"""Characters of one unfinished frame that are kept before the stream is given up."""


class FrameReader:
    """Takes bytes in any pieces, gives the JSON objects that are whole. Empty objects are heartbeats."""

    def __init__(self) -> None:
        self._text = ""
        self._rest = b""
        self._decoder = json.JSONDecoder()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The frames that `data` completes, heartbeats left out. Raises UnavailableError on rubbish."""
        self._text += self._as_text(data)
        frames: list[dict[str, Any]] = []
        at = 0
        while at < len(self._text):
            if self._text[at].isspace():
                at += 1
                continue
            try:
                value, at = self._decoder.raw_decode(self._text, at)
            except (ValueError, RecursionError):
                if self._text[at] != "{" or len(self._text) - at > MAX_PENDING:
                    raise UnavailableError(
                        "client.bad_stream", "the stream broke off", self._text[at : at + 500].strip()
                    ) from None
                break
            if isinstance(value, dict) and value:
                frames.append(value)
        self._text = self._text[at:]
        return frames

    def _as_text(self, data: bytes) -> str:
        # A piece may end inside a character of several bytes.
        data = self._rest + data
        for keep in range(min(4, len(data) + 1)):
            try:
                text = data[: len(data) - keep].decode()
            except UnicodeDecodeError:
                continue
            self._rest = data[len(data) - keep :]
            return text
        self._rest = b""
        return data.decode("utf-8", "replace")


def frames_of(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The frames of a stream, heartbeats left out."""
    reader = FrameReader()
    for piece in pieces:
        yield from reader.feed(piece)


def data_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes that file and log frames carry."""
    for frame in frames_of(pieces):
        if data := frame.get("Data"):
            try:
                yield b64decode(data)
            except (ValueError, TypeError):
                raise UnavailableError("client.bad_stream", "the stream broke off", "a frame is damaged") from None
