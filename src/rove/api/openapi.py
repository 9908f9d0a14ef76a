"""/v1/openapi.json: the route table as OpenAPI 3.1."""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

import rove

from .call import Call, Reply
from .replies import to_json
from .routes import READ, Place, Route

REF = "#/components/schemas/{name}"
_NAME = re.compile(r"\{(\w+)\}")
EVERYWHERE = ("region", "namespace", "pretty")
INTEGERS = frozenset({"index", "per_page", "eval_priority", "offset", "limit", "cas", "version", "diff_version"})
BOOLEANS = frozenset(
    {
        "reverse",
        "stale",
        "meta",
        "all",
        "resources",
        "task_states",
        "os",
        "related",
        "purge",
        "global",
        "follow",
        "no_shutdown_delay",
        "reschedule",
        "diffs",
        "plain",
        "tty",
        "log_json",
        "ws_handshake",
        "pretty",
    }
)


async def describe(call: Call) -> Reply:
    """The description of this API."""
    return Reply(document())


@functools.cache
def document() -> bytes:
    """The whole description as JSON text."""
    from .table import ROUTES

    return to_json(build(ROUTES))


def build(routes: tuple[Route, ...]) -> dict[str, Any]:
    """The description of a route table."""
    types = _types(routes)
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    schema_of = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for method in route.methods:
            paths.setdefault(route.path, {})[method.lower()] = _operation(route, method, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Rove",
            "version": rove.__version__,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
            "description": "Jobs, allocations, nodes and deployments. Errors are plain text. Times ending in Time are "
            "nanoseconds since the epoch, durations are nanoseconds.",
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Nomad-Token"}},
            "responses": {
                "Error": {"description": "What went wrong", "content": {"text/plain": {"schema": {"type": "string"}}}}
            },
        },
    }


def _types(routes: tuple[Route, ...]) -> list[Any]:
    found: dict[int, Any] = {}
    for route in routes:
        for kind in (route.body, route.answer):
            if kind is not None:
                found.setdefault(id(kind), kind)
    return list(found.values())


def _operation(route: Route, method: str, schema_of: dict[int, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": route.summary}
    schema = schema_of[id(route.answer)] if route.answer is not None else {}
    answer["content"] = {route.content_type: {"schema": schema}}
    if route.blocks_on:
        answer["headers"] = {
            "X-Nomad-Index": {"description": "What `index` must exceed", "schema": {"type": "integer"}}
        }
    operation: dict[str, Any] = {
        "operationId": _operation_id(route, method),
        "summary": route.summary,
        "tags": [route.path.split("/")[2]],
        "parameters": [_in_path(name) for name in _NAME.findall(route.path)]
        + [_in_query(name) for name in dict.fromkeys((*route.query, *EVERYWHERE))],
        "responses": {"200": answer, "default": {"$ref": "#/components/responses/Error"}},
    }
    if route.body is not None:
        content = {"application/json": {"schema": schema_of[id(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    if route.capability:
        operation["x-capability"] = route.capability
    return operation


def _operation_id(route: Route, method: str) -> str:
    parts = [part.strip("{}").replace("-", "_") for part in route.path.split("/")[2:]]
    return "_".join([method.lower(), *parts]).replace(".", "_")


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(name: str) -> dict[str, Any]:
    kind = "integer" if name in INTEGERS else "boolean" if name in BOOLEANS else "string"
    return {"name": name, "in": "query", "schema": {"type": kind}}


ROUTES = (
    Route(
        methods=READ,
        path="/v1/openapi.json",
        handler=describe,
        summary="This description",
        place=Place.AGENT,
    ),
)
