"""Images: pulled once for everybody who waits, with progress, and removed some time after their last use."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiodocker
import aiohttp

from rove.client.drivers.base import DriverError, EmitEvent

from .config import merged

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 10.0
HUB = "https://index.docker.io/v1/"


class Images:
    """Images of one engine. Those that this agent pulled are removed `delay_s` after their last container."""

    def __init__(
        self, engine: aiodocker.Docker, *, auth_file: str = "", remove: bool = True, delay_s: float = 180.0
    ) -> None:
        self._engine = engine
        self._auth_file = auth_file
        self._remove = remove
        self._delay_s = delay_s
        self._pulls: dict[str, asyncio.Task[str]] = {}
        self._pulled: set[str] = set()
        self._users: dict[str, int] = {}
        self._removals: dict[str, asyncio.Task[None]] = {}

    async def ensure(
        self,
        image: str,
        *,
        force: bool,
        auth: Mapping[str, Any],
        soft: bool,
        emit: EmitEvent,
        activity_timeout_s: float,
        timeout_s: float,
    ) -> str:
        """Have the image; returns its id. Raises `DriverError`."""
        name = with_tag(image)
        pull = force or name.endswith(":latest")
        if not pull:
            known = await self._id_of(name)
            if known:
                return known
        task = self._pulls.get(name)
        if task is None:
            work = self._pull(name, auth, soft, emit, activity_timeout_s, timeout_s)
            task = asyncio.get_running_loop().create_task(work)
            self._pulls[name] = task
            task.add_done_callback(lambda _: self._pulls.pop(name, None))
        else:
            await emit(f"waiting for the pull of {name} that another task began", {"image": name})
        return await asyncio.shield(task)

    def hold(self, image: str) -> None:
        """A container uses the image: keep it."""
        name = with_tag(image)
        self._users[name] = self._users.get(name, 0) + 1
        removal = self._removals.pop(name, None)
        if removal is not None:
            removal.cancel()

    def release(self, image: str) -> None:
        """A container of the image is gone."""
        name = with_tag(image)
        left = self._users.get(name, 1) - 1
        self._users[name] = left
        if left <= 0:
            self._users.pop(name, None)
            if self._remove and name in self._pulled:
                self._removals[name] = asyncio.get_running_loop().create_task(self._remove_later(name))

    async def close(self) -> None:
        """Stop waiting."""
        tasks = [*self._pulls.values(), *self._removals.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _remove_later(self, name: str) -> None:
        await asyncio.sleep(self._delay_s)
        self._removals.pop(name, None)
        try:
            await self._engine.images.delete(name)
            self._pulled.discard(name)
        except (aiodocker.DockerError, aiohttp.ClientError, OSError) as error:
            log.debug("image %s stays: %s", name, error)

    async def _id_of(self, name: str) -> str:
        try:
            found: dict[str, Any] = await self._engine.images.inspect(name)
        except aiodocker.DockerError as error:
            if error.status == 404:
                return ""
            raise DriverError(f"the image {name} could not be looked up: {error.message}", recoverable=True) from None
        return str(found["Id"])

    async def _pull(
        self,
        name: str,
        auth: Mapping[str, Any],
        soft: bool,
        emit: EmitEvent,
        activity_timeout_s: float,
        timeout_s: float,
    ) -> str:
        await emit(f"pulling the image {name}", {"image": name})
        credentials = self._credentials(name, auth)
        try:
            async with asyncio.timeout(timeout_s):
                try:
                    await self._stream(name, credentials, emit, activity_timeout_s)
                except (aiodocker.DockerError, aiodocker.DockerStreamError):
                    if not (soft and credentials):
                        raise
                    await self._stream(name, None, emit, activity_timeout_s)
        except TimeoutError:
            raise DriverError(f"the pull of {name} was given up: no progress, or too slow", recoverable=True) from None
        except (aiodocker.DockerError, aiodocker.DockerStreamError, aiohttp.ClientError, OSError) as error:
            known = "" if isinstance(error, aiohttp.ClientError) else await self._id_of(name)
            if known:
                await emit(f"the pull of {name} failed; the image that is here is used", {"image": name})
                return known
            raise DriverError(
                f"the image {name} could not be pulled: {_text(error)}", recoverable=_may_pass(error)
            ) from None
        self._pulled.add(name)
        return await self._id_of(name)

    async def _stream(
        self, name: str, auth: dict[str, Any] | str | None, emit: EmitEvent, activity_timeout_s: float
    ) -> None:
        loop = asyncio.get_running_loop()
        progress = _Progress()
        told = loop.time()
        stream = self._engine.images.pull(name, auth=auth, stream=True)
        messages = aiter(stream)
        while True:
            try:
                async with asyncio.timeout(activity_timeout_s):
                    message = await anext(messages)
            except StopAsyncIteration:
                break
            progress.take(message)
            if loop.time() - told >= PROGRESS_EVERY_S:
                told = loop.time()
                await emit(f"pulling the image {name}: {progress.text()}", {"image": name, "progress": progress.text()})
        await emit(f"the image {name} is here: {progress.text()}", {"image": name})

    def _credentials(self, name: str, auth: Mapping[str, Any]) -> dict[str, Any] | str | None:
        if auth.get("username"):
            return {
                "username": auth["username"],
                "password": auth.get("password", ""),
                "email": auth.get("email", ""),
                "serveraddress": auth.get("server_address") or registry_of(name),
            }
        return from_auth_file(self._auth_file, registry_of(name)) if self._auth_file else None


class _Progress:
    """Layers of a pull: how far each is."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}

    def take(self, message: Mapping[str, Any]) -> None:
        detail = message.get("progressDetail") or {}
        layer = message.get("id")
        if layer and message.get("status") == "Downloading" and detail.get("total"):
            self._layers[layer] = (int(detail.get("current", 0)), int(detail["total"]))
        elif layer in self._layers and message.get("status") in ("Download complete", "Pull complete"):
            total = self._layers[layer][1]
            self._layers[layer] = (total, total)

    def text(self) -> str:
        have = sum(current for current, _ in self._layers.values())
        total = sum(total for _, total in self._layers.values())
        if not self._layers:
            return "nothing had to be downloaded"
        return f"{have / 1024**2:.1f} of {total / 1024**2:.1f} MiB in {len(self._layers)} layers"


def with_tag(image: str) -> str:
    """The image with a tag: ``:latest`` if it names neither tag nor digest."""
    if "@" in image or ":" in image.rpartition("/")[2]:
        return image
    return f"{image}:latest"


def registry_of(image: str) -> str:
    """The registry that an image names, Docker Hub if none."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else HUB


def from_auth_file(path: str, registry: str) -> dict[str, Any] | None:
    """Credentials for a registry from a docker config.json. None if it has none or cannot be read."""
    try:
        auths = merged(json.loads(Path(path).read_text()).get("auths"))
        entry = auths.get(registry) or auths.get(f"https://{registry}") or {}
        user, _, password = base64.b64decode(entry.get("auth", "")).decode().partition(":")
    except (OSError, ValueError, AttributeError):
        return None
    return {"username": user, "password": password, "serveraddress": registry} if user else None


def _text(error: Exception) -> str:
    return str(getattr(error, "message", "") or error)


def _may_pass(error: Exception) -> bool:
    """True unless the registry said plainly that there is no such image or no right to it."""
    text = _text(error).lower()
    final = ("not found", "denied", "unauthorized", "invalid reference", "manifest unknown", "does not exist")
    return not any(word in text for word in final)
