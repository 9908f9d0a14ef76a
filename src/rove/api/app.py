"""The aiohttp application: finds the route, authorises, calls the handler, answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from rove.engine import FencedError
from rove.errors import ForbiddenError, RoveError, UnavailableError

from .backend import Backend
from .call import Call, Reply
from .forward import Forwarder
from .replies import STREAMING, error_response, respond, text_response
from .router import Router
from .routes import Route
from .table import ROUTES

Answer = Reply | web.StreamResponse

log = logging.getLogger("rove.api")

NO_LEADER = "No cluster leader"
INTERNAL = "the agent failed to answer; its log has the cause [internal]"


def create_app(backend: Backend) -> web.Application:
    """The API as an aiohttp application. Further routes (a web page) may be added to it; they win over the API's."""
    app = web.Application(client_max_size=backend.body_limit)
    service = Service(backend)
    app.router.add_route("*", r"/{tail:[\s\S]*}", service.handle)

    async def clean_up(_: web.Application) -> None:
        await service.forwarder.close()
        for stop in backend.on_shutdown:
            await stop()

    app.on_cleanup.append(clean_up)
    return app


class Service:
    """Answers every request of the API."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.forwarder = Forwarder(backend)
        self._router = Router(ROUTES)
        self._writes: set[asyncio.Future[Answer]] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; every failure becomes plain text with its status."""
        try:
            return await self._answer(request)
        except RoveError as error:
            return self._failed(request, error_response(error))
        except web.HTTPException as error:
            return self._failed(request, text_response(error.text or error.reason, error.status))
        except ConnectionError:
            raise  # the client has gone
        except FencedError:
            return self._failed(request, error_response(UnavailableError("server.no_leader", NO_LEADER)))
        except OSError as error:
            log.error("the change was not stored: %s", error)
            return self._failed(request, error_response(not_stored(error)))
        except Exception:
            log.exception("failed to answer %s %s", request.method, request.rel_url.raw_path[:256])
            return self._failed(request, text_response(INTERNAL, 500))

    def _failed(self, request: web.Request, response: web.Response) -> web.Response:
        """The answer for a failure; a stream that has begun is cut instead, so that its reader sees it is not whole."""
        if STREAMING in request and request.transport is not None:
            request.transport.abort()
            raise ConnectionResetError("the stream broke off")
        if request.content.exception() is not None:
            # The body could not be read, so nobody knows where the next request begins.
            request.content.feed_eof()
            response.force_close()
        response.headers.update(self.backend.response_headers)
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        match = self._router.find(request.rel_url.raw_path)
        if match is None:
            return self._failed(request, self._unknown(request))
        route = match.by_method.get(request.method)
        if route is None:
            return self._failed(request, self._wrong_method(request, match.by_method))
        refuse_foreign_origin(request)
        call = Call(request, self.backend, match.ids)
        if target := self.forwarder.target(call, route):
            return await self.forwarder.forward(request, target)
        self._authorise(call, route)
        answer = await (self._unbroken(route.handler(call)) if route.is_write else route.handler(call))
        return await respond(call, answer) if isinstance(answer, Reply) else answer

    async def _unbroken(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Carry a write through to its end even if the client hangs up meanwhile."""
        task = asyncio.ensure_future(work)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    def _authorise(self, call: Call, route: Route) -> None:
        authorizer = self.backend.authorizer
        if authorizer is not None and route.capability:
            authorizer.check(call.token, route.capability, call.namespace)

    def _unknown(self, request: web.Request) -> web.Response:
        if request.path == "/":
            query = request.rel_url.raw_query_string
            location = "/ui/" + (f"?{query}" if query else "")
            return web.Response(status=307, headers={"Location": location})
        return text_response("", 404)

    def _wrong_method(self, request: web.Request, by_method: Mapping[str, Route]) -> web.Response:
        allowed = ", ".join(sorted(by_method))
        return text_response(
            f"method {request.method[:16]} is not allowed here; allowed: {allowed}", 405, {"Allow": allowed}
        )


def not_stored(error: OSError) -> UnavailableError:
    """The failure of a medium that refuses, mostly because it is full."""
    return UnavailableError(
        "store.refused",
        "the change was not stored",
        why=error.strerror or type(error).__name__,
        fix="make room on the server's disk, or look at its log",
    )


def refuse_foreign_origin(request: web.Request) -> None:
    """Keep web pages of other sites from writing, and from opening a shell, through a person's browser.

    A browser names the page's origin with every write and every WebSocket; command lines send none.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        return
    if request.method == "GET" and request.headers.get("Upgrade", "").lower() != "websocket":
        return
    if urlsplit(origin).netloc != request.headers.get("Host", ""):
        raise ForbiddenError(
            "request.origin",
            "requests from pages of another origin are refused",
            fix="use the page of this agent, or a client outside a browser",
        )
