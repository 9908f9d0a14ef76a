"""Whatever a handler raises, the other side hears of it, and nothing of what only we can mend."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from rove.errors import InvariantError, NotFoundError, RoveError
from rove.ports.transport import Router, Session, Stream, memory_pipes

PATIENCE_S = 60.0


class Note(msgspec.Struct):
    """A message."""

    text: str = ""


@asynccontextmanager
async def asking(failure: Callable[[], Exception]) -> AsyncIterator[Session]:
    """A session whose other side raises what `failure` gives, streams after their first message."""

    async def fail(session: Session, note: Note) -> Note:
        raise failure()

    async def break_off(session: Session, note: Note, stream: Stream) -> None:
        await stream.send(b"first")
        raise failure()

    router = Router()
    router.on("note", Note, fail)
    router.on_stream("notes", Note, break_off)
    near, far = memory_pipes()
    asker, answerer = Session(near, Router(), dialled=True), Session(far, router, dialled=False)
    running = [asyncio.create_task(asker.run()), asyncio.create_task(answerer.run())]
    try:
        yield asker
    finally:
        await asker.close()
        await asyncio.gather(*running)


FAILURES = [
    (lambda: NotFoundError("x.unknown", "no such x"), "x.unknown", "no such x"),
    (lambda: OSError(28, "No space left on device", "/secret/path"), "state.not_stored", "nothing was stored"),
    (lambda: TimeoutError("secret"), "connection.failed", "failed"),
    (lambda: ConnectionRefusedError("secret"), "connection.failed", "failed"),
    (lambda: InvariantError("secret"), "internal", "failed"),
    (lambda: KeyError("secret"), "internal", "failed"),
]


@pytest.mark.parametrize(("failure", "code", "what"), FAILURES)
async def test_a_request_is_answered_whatever_its_handler_raises(
    failure: Callable[[], Exception], code: str, what: str
) -> None:
    async with asking(failure) as asker:
        with pytest.raises(RoveError) as caught:
            await asker.call("note", Note(), Note, timeout_s=PATIENCE_S)
    assert caught.value.code == code
    assert what in caught.value.what
    assert "secret" not in str(caught.value)
    assert caught.value.status == (404 if code == "x.unknown" else 500)


@pytest.mark.parametrize(("failure", "code", "what"), FAILURES)
async def test_a_stream_whose_handler_fails_ends_with_that_and_not_as_if_it_were_whole(
    failure: Callable[[], Exception], code: str, what: str
) -> None:
    async with asking(failure) as asker, asyncio.timeout(PATIENCE_S):
        stream = await asker.open("notes", Note())
        assert await stream.receive() == b"first"
        with pytest.raises(RoveError) as caught:
            await stream.receive()
    assert caught.value.code == code
    assert "secret" not in str(caught.value)


async def test_what_was_asked_is_in_the_log_with_the_failure(caplog: pytest.LogCaptureFixture) -> None:
    async with asking(lambda: InvariantError("the details")) as asker:
        with caplog.at_level(logging.ERROR), pytest.raises(RoveError):
            await asker.call("note", Note(), Note, timeout_s=PATIENCE_S)
    assert "note failed" in caplog.text
    assert "the details" in caplog.text


async def test_a_message_that_is_not_understood_is_told_so() -> None:
    async with asking(lambda: AssertionError) as asker:
        with pytest.raises(RoveError) as caught:
            await asker.call("note", ["no", "note"], Note, timeout_s=PATIENCE_S)
    assert caught.value.code == "message.malformed"


async def test_a_reader_that_hangs_up_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()

    async def go_on(session: Session, note: Note, stream: Stream) -> None:
        try:
            while True:
                await stream.send(b"more")
                await asyncio.sleep(0)
        finally:
            ended.set()

    router = Router()
    router.on_stream("notes", Note, go_on)
    near, far = memory_pipes()
    asker, answerer = Session(near, Router(), dialled=True), Session(far, router, dialled=False)
    running = [asyncio.create_task(asker.run()), asyncio.create_task(answerer.run())]
    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(PATIENCE_S):
            stream = await asker.open("notes", Note())
            assert await stream.receive() == b"more"
            await stream.close()
            await ended.wait()
        await asker.close()
        await asyncio.gather(*running)
    assert caplog.text == ""
