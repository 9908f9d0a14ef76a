"""One thing that is wrong with a job, and where."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


WORDS_COMPARED_MAX = 200
"""Comparing words is slow: among more of them, none is suggested."""


class Problem(NamedTuple):
    """path: the place in words of the job file, for instance ``group "web" > task "app" > resources > cpu``.

    text: what is wrong and what would be right, one line.
    """

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


def clean(text: str) -> str:
    """The text with anything that could disturb a terminal or a log line made a dot."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "·" for char in text)


def join(path: str, part: str) -> str:
    """`part` below `path`."""
    return f"{path} > {part}" if path else part


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean "x"?`` for the nearest known word, or nothing."""
    words = list(known)
    close = get_close_matches(word[:80], words, n=1, cutoff=0.6) if len(words) <= WORDS_COMPARED_MAX else []
    return f'; did you mean "{close[0]}"?' if close else ""


def quoted(words: Iterable[str]) -> str:
    """``"a", "b" or "c"``."""
    items = [f'"{word}"' for word in words]
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} or {items[-1]}"
