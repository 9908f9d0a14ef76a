"""Finds the route of a path. Ids may hold slashes, plain or percent-encoded, so a path is matched from both ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote_to_bytes

from rove.errors import BadRequestError

from .routes import Route

_MANY_SLASHES = re.compile("//+")
_NAME = re.compile(r"\{(\w+)\}")
_NO_IDS: Mapping[str, str] = {}
_MAX_ID = 4096


class Match:
    """The routes of one path by method, and the ids within the path."""

    __slots__ = ("by_method", "ids")

    def __init__(self, by_method: Mapping[str, Route], ids: Mapping[str, str]) -> None:
        self.by_method = by_method
        self.ids = ids


class _Pattern:
    """A path with names in it, after its static beginning."""

    def __init__(self, template: str) -> None:
        first = template.index("{")
        self.prefix = template[:first]
        rest = template[first:]
        self.names = _NAME.findall(rest)
        self.static_size = len(_NAME.sub("", rest))
        # The first id takes all it can; later ones are one segment each.
        parts = [re.escape(part) for part in _NAME.split(rest)[::2]]
        groups = ["(.+)", *["([^/]+)"] * (len(self.names) - 1)]
        self.regex = re.compile("".join(p + g for p, g in zip(parts, [*groups, ""], strict=True)) + r"\Z", re.DOTALL)
        self.by_method: dict[str, Route] = {}


class Router:
    """Looks up paths in a route table."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._static: dict[str, Match] = {}
        self._by_prefix: dict[str, list[_Pattern]] = {}
        tables: dict[str, dict[str, Route]] = {}
        for route in routes:
            table = tables.get(route.path) or self._new_table(route.path)
            tables[route.path] = table
            for method in route.methods:
                if method in table:
                    raise ValueError(f"two routes for {method} {route.path}")
                table[method] = route
        for patterns in self._by_prefix.values():
            patterns.sort(key=lambda pattern: -pattern.static_size)
        self._prefixes = sorted(self._by_prefix, key=len, reverse=True)

    def _new_table(self, path: str) -> dict[str, Route]:
        if "{" not in path:
            table: dict[str, Route] = {}
            self._static[path] = Match(table, _NO_IDS)
            return table
        pattern = _Pattern(path)
        self._by_prefix.setdefault(pattern.prefix, []).append(pattern)
        return pattern.by_method

    def find(self, raw_path: str) -> Match | None:
        """The match of a path as it stood in the request line, or None. Raises `BadRequestError` for a bad id."""
        path = _MANY_SLASHES.sub("/", raw_path) if "//" in raw_path else raw_path
        if static := self._static.get(path):
            return static
        for prefix in self._prefixes:
            if path.startswith(prefix) and (match := self._match(prefix, path[len(prefix) :])):
                return match
        return self._static.get(path.rstrip("/")) if path.endswith("/") else None

    def _match(self, prefix: str, rest: str) -> Match | None:
        for pattern in self._by_prefix[prefix]:
            if found := pattern.regex.match(rest):
                ids = {name: decode_id(text) for name, text in zip(pattern.names, found.groups(), strict=True)}
                return Match(pattern.by_method, ids)
        return None


def decode_id(text: str) -> str:
    """A percent-encoded id as text. Raises `BadRequestError` if it is not UTF-8 or longer than 4 KiB."""
    if len(text) > 3 * _MAX_ID:
        raise BadRequestError("request.path", "an id in the path is too long")
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequestError("request.path", "the path is not UTF-8") from None
