"""Requests and replies as values, shared by the blocking and the asynchronous client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict
from urllib.parse import quote, urlencode

from rove.errors import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RoveError,
    TooLargeError,
    UnavailableError,
)
from rove.sdk.settings import Settings

MAX_ERROR_TEXT = 20_000
"""Characters of an error body that are kept."""


class Options(TypedDict, total=False):
    """Query options that every read accepts."""

    namespace: str
    region: str
    prefix: str
    filter: str
    per_page: int
    next_token: str
    reverse: bool
    index: int
    """Wait until the state is newer than this index."""
    wait_s: float
    """How long to wait for that, in seconds."""
    stale: bool


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `path` is encoded already, `body` is JSON unless `raw` is given."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    body: Any = None
    raw: bytes | None = None
    decode: str = "json"
    """``json``, ``text``, ``bytes`` or ``none``."""
    wait_s: float = 0.0
    """How much longer than usual the answer may take, in seconds."""

    def target(self, settings: Settings) -> str:
        """Path and query string, with the settings' region and namespace where the call names none."""
        named = {name for name, _ in self.params}
        params = list(self.params)
        if settings.region and "region" not in named:
            params.append(("region", settings.region))
        if settings.namespace and "namespace" not in named:
            params.append(("namespace", settings.namespace))
        return f"{self.path}?{urlencode(params)}" if params else self.path

    def payload(self) -> bytes | None:
        """The body's bytes, None when there is none."""
        if self.raw is not None:
            return self.raw
        return None if self.body is None else json.dumps(self.body, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with what its headers said. `index` is 0 where the API gave none."""

    value: Any
    status: int = 200
    index: int = 0
    next_token: str = ""
    known_leader: bool = True


def request(
    method: str,
    *segments: str,
    options: Options | None = None,
    params: Mapping[str, Any] | None = None,
    body: Any = None,
    raw: bytes | None = None,
    decode: str = "json",
    wait_s: float = 0.0,
) -> Request:
    """Build a call of ``/v1/<segments>``. Segments are percent-encoded, ids with slashes included.

    Parameters that are None, False or "" are left out; True becomes ``true``.
    """
    path = "/v1/" + "/".join(quote(segment, safe="") for segment in segments)
    found: list[tuple[str, str]] = []
    if options:
        wait_s += float(options.get("wait_s", 300.0 if options.get("index") else 0.0))
    for name, value in {**(options or {}), **(params or {})}.items():
        found += _encoded(name, value)
    return Request(method, path, tuple(found), body, raw, decode, wait_s)


def _encoded(name: str, value: Any) -> list[tuple[str, str]]:
    if value is None or value is False or value == "":
        return []
    if name == "wait_s":
        return [("wait", f"{int(float(value) * 1000)}ms")]
    if isinstance(value, (list, tuple)):
        return [(name, str(item)) for item in value]
    return [(name, "true" if value is True else str(value))]


def headers_of(settings: Settings, req: Request) -> dict[str, str]:
    """The headers of a call: what comes back, who asks."""
    headers = {"Accept": "application/json", "User-Agent": "rove"}
    if settings.token:
        headers["X-Nomad-Token"] = settings.token
    if settings.http_auth:
        from base64 import b64encode

        headers["Authorization"] = "Basic " + b64encode(settings.http_auth.encode()).decode()
    if req.raw is None and req.body is not None:
        headers["Content-Type"] = "application/json"
    return headers


def reply_of(req: Request, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    """Turn an answer into a value, or raise the RoveError that it stands for."""
    if status >= 300:
        raise error_of(status, body.decode("utf-8", "replace"))
    return Reply(
        value=_decoded(req, body),
        status=status,
        index=_number(headers.get("X-Nomad-Index", "")),
        next_token=headers.get("X-Nomad-NextToken", ""),
        known_leader=headers.get("X-Nomad-KnownLeader", "true") != "false",
    )


def _decoded(req: Request, body: bytes) -> Any:
    if req.decode == "bytes":
        return body
    if req.decode == "text":
        return body.decode("utf-8", "replace")
    if req.decode == "none" or not body.strip():
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnavailableError(
            "client.not_json", f"the answer to {req.method} {req.path} is not JSON", str(error),
            "check that the address is that of a Rove agent, not of a proxy or another service",
        ) from None  # fmt: skip


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


_KINDS: dict[int, type[RoveError]] = {
    400: BadRequestError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
}


def error_of(status: int, text: str) -> RoveError:
    """The RoveError that an error body stands for; Rove's own three-part texts are taken apart again."""
    text = text.strip()[:MAX_ERROR_TEXT]
    kind = _KINDS.get(status, RoveError)
    what, code, why, fix = _parts(text)
    if not what:
        what = f"the agent answered with status {status} and no text"
    return kind(code or f"api.status_{status}", what, why, fix, status=status)


def _parts(text: str) -> tuple[str, str, str, str]:
    first, *rest = text.splitlines() or [""]
    code = ""
    if first.endswith("]") and " [" in first:
        head, _, tail = first[:-1].rpartition(" [")
        if tail and all(ch.isalnum() or ch in "._" for ch in tail):
            first, code = head, tail
    labelled: dict[str, list[str]] = {"why": [], "fix": []}
    label = "why"
    for line in rest:
        for name in ("why", "fix"):
            if line.startswith(f"  {name}: "):
                label, line = name, line.removeprefix(f"  {name}: ")
                break
        else:
            line = line.removeprefix("       ") if code else line
        labelled[label].append(line)
    return first, code, "\n".join(labelled["why"]), "\n".join(labelled["fix"])


def unreachable(settings: Settings, cause: str) -> UnavailableError:
    """No agent answers at the address."""
    return UnavailableError(
        "client.no_agent", f"no agent answered at {settings.address}", cause,
        "start one with `rove agent -dev`, or name another with -address or ROVE_ADDR",
    )  # fmt: skip


def too_slow(settings: Settings, req: Request, seconds: float) -> UnavailableError:
    """The agent took longer than the time a call has."""
    return UnavailableError(
        "client.timeout", f"{settings.address} did not answer {req.method} {req.path} in time",
        f"nothing came for {seconds:g} s", "look at the agent's log, and try again",
    )  # fmt: skip
