"""Requests and streams from a server to a node."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from rove.client.drivers.base import Exit
from rove.errors import NotFoundError, RoveError
from rove.ports.transport import Stream
from rove.structs.messages import (
    AllocRequest,
    Empty,
    ExecInput,
    ExecOutput,
    ExecRequest,
    FileInfo,
    FileInfos,
    FileRequest,
    Kind,
    LogsRequest,
    MonitorRequest,
    RestartRequest,
    SignalRequest,
    Stats,
    StreamChunk,
)
from rove.testing.node_agent import World, a_job, a_task, an_alloc, fast_restarts, until


async def running(world: World, *tasks: Any, **settings: Any) -> Any:
    await world.agent(**settings)
    alloc = an_alloc(a_job(*tasks))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    return alloc


async def drain(stream: Stream) -> bytes:
    data = b""
    while (raw := await stream.receive()) is not None:
        data += msgspec.msgpack.decode(raw, type=StreamChunk).data
    return data


async def test_a_restart_starts_the_task_anew_without_counting_it(world: World) -> None:
    alloc = await running(world, a_task(restart_policy=fast_restarts(attempts=0)))
    await world.server.call(Kind.ALLOC_RESTART, RestartRequest(alloc_id=alloc.id, task="main"), Empty)
    await until(lambda: len(world.machine.starts) == 2)
    await until(lambda: world.server.newest[alloc.id].task_states["main"].restarts == 1)
    assert "Restart Signaled" in world.server.event_types(alloc)
    await world.server.until_status(alloc, "running")


async def test_all_tasks_restarts_also_what_has_ended(world: World) -> None:
    init = a_task("init", hook="prestart", config={"run_for": "1ms"})
    alloc = await running(world, init, a_task())
    await until(lambda: world.machine.running == [f"{alloc.id}/main"])
    await world.server.call(Kind.ALLOC_RESTART, RestartRequest(alloc_id=alloc.id, all_tasks=True), Empty)
    await until(lambda: len(world.machine.starts) == 4)
    assert sorted(name.rpartition("/")[2] for name in world.machine.starts) == ["init", "init", "main", "main"]


async def test_a_task_that_is_not_running_cannot_be_restarted(world: World) -> None:
    init = a_task("init", hook="prestart", config={"run_for": "1ms"})
    alloc = await running(world, init, a_task())
    await until(lambda: world.machine.running == [f"{alloc.id}/main"])
    with pytest.raises(NotFoundError):
        await world.server.call(Kind.ALLOC_RESTART, RestartRequest(alloc_id=alloc.id, task="init"), Empty)


async def test_a_signal_reaches_the_task(world: World) -> None:
    alloc = await running(world)
    await world.server.call(Kind.ALLOC_SIGNAL, SignalRequest(alloc_id=alloc.id, signal="SIGHUP"), Empty)
    assert world.machine.tasks[f"{alloc.id}/main"].signals == ["SIGHUP"]
    await until(lambda: "Signaling" in world.server.event_types(alloc))


async def test_a_signal_that_the_driver_refuses_is_an_error_for_the_caller(world: World) -> None:
    alloc = await running(world, a_task(config={"signal_error": "not this one"}))
    with pytest.raises(RoveError, match="SIGHUP") as caught:
        await world.server.call(Kind.ALLOC_SIGNAL, SignalRequest(alloc_id=alloc.id, signal="SIGHUP"), Empty)
    assert caught.value.why == "not this one"
    state = world.agents[-1].runners[alloc.id].tasks["main"].machine.state
    assert "Signaling" not in [event.type for event in state.events]


@pytest.mark.parametrize("kind", [Kind.ALLOC_RESTART, Kind.ALLOC_SIGNAL, Kind.ALLOC_STATS, Kind.FS_LIST, Kind.ALLOC_GC])
async def test_an_unknown_allocation_is_not_found(world: World, kind: Kind) -> None:
    await world.agent()
    with pytest.raises(NotFoundError, match="unknown allocation"):
        await world.server.call(kind, SignalRequest(alloc_id="nope", signal="SIGHUP"), Empty)


async def test_an_unknown_task_is_not_found_and_the_known_ones_are_named(world: World) -> None:
    alloc = await running(world)
    with pytest.raises(NotFoundError) as caught:
        await world.server.call(Kind.ALLOC_STATS, AllocRequest(alloc_id=alloc.id, task="nope"), Stats)
    assert "main" in caught.value.why


async def test_statistics_have_the_shape_of_the_api(world: World) -> None:
    alloc = await running(world)
    body = (await world.server.call(Kind.ALLOC_STATS, AllocRequest(alloc_id=alloc.id), Stats)).body
    assert set(body) == {"ResourceUsage", "Tasks", "Timestamp"}
    assert set(body["Tasks"]["main"]) == {"ResourceUsage", "Timestamp", "Pids"}
    assert {"MemoryStats", "CpuStats", "DeviceStats"} == set(body["ResourceUsage"])


async def test_the_machine_tells_what_it_has_left(world: World) -> None:
    await world.agent()
    body = (await world.server.call(Kind.NODE_STATS, Empty(), Stats)).body
    assert body["Memory"]["Total"] > 0
    assert body["CPU"]
    assert body["AllocDirStats"]["Size"] > 0


async def test_files_are_listed_read_and_streamed(world: World) -> None:
    alloc = await running(world)
    (world.data_dir / "alloc" / alloc.id / "main" / "local" / "a.txt").write_text("hello")
    listed = await world.server.call(Kind.FS_LIST, FileRequest(alloc_id=alloc.id, path="/main/local"), FileInfos)
    assert [entry.name for entry in listed.entries] == ["a.txt"]
    request = FileRequest(alloc_id=alloc.id, path="/main/local/a.txt", offset=1, limit=3)
    assert (await world.server.call(Kind.FS_STAT, request, FileInfo)).size == 5
    assert await drain(await world.server.open(Kind.FS_READ, request)) == b"ell"
    with pytest.raises(NotFoundError):
        await drain(await world.server.open(Kind.FS_READ, FileRequest(alloc_id=alloc.id, path="nope")))


async def test_followed_logs_end_when_the_task_has_ended(world: World) -> None:
    alloc = await running(world, a_task(config={"stdout_string": "hi "}, restart_policy=fast_restarts(0)))
    stream = await world.server.open(Kind.FS_LOGS, LogsRequest(alloc_id=alloc.id, task="main", follow=True))
    first = msgspec.msgpack.decode(await stream.receive() or b"", type=StreamChunk)
    assert first.data == b"hi "
    assert first.file == "alloc/logs/main.stdout.0"
    world.machine.tasks[f"{alloc.id}/main"].end(Exit())
    assert await drain(stream) == b""


async def test_a_follower_that_goes_away_is_let_go(world: World) -> None:
    alloc = await running(world, a_task(config={"stdout_string": "hi "}))
    client = world.agents[-1]
    stream = await world.server.open(Kind.FS_LOGS, LogsRequest(alloc_id=alloc.id, task="main", follow=True))
    await stream.receive()
    assert client.link.session is not None
    assert client.link.session._tasks
    await stream.close()
    await until(lambda: client.link.session is not None and not client.link.session._tasks)


async def test_a_command_runs_beside_a_task(world: World) -> None:
    alloc = await running(world)
    request = ExecRequest(alloc_id=alloc.id, task="main", command=("cat", "-"))
    stream = await world.server.open(Kind.ALLOC_EXEC, request)
    await stream.send(msgspec.msgpack.encode(ExecInput(stdin=b"typed\n")))
    await stream.send(msgspec.msgpack.encode(ExecInput(close=True)))
    output, ended = b"", False
    while not ended:
        message = msgspec.msgpack.decode(await stream.receive() or b"", type=ExecOutput)
        output, ended = output + message.stdout, message.exited
    assert output == b"cat -\ntyped\n"


async def test_exec_can_be_forbidden_by_the_node(world: World) -> None:
    alloc = await running(world, disable_remote_exec=True)
    stream = await world.server.open(Kind.ALLOC_EXEC, ExecRequest(alloc_id=alloc.id, task="main", command=("x",)))
    with pytest.raises(RoveError, match="not run"):
        await stream.receive()


async def test_an_ended_allocation_can_be_collected_and_a_running_one_cannot(world: World) -> None:
    alloc = await running(world, a_task(restart_policy=fast_restarts(0)))
    with pytest.raises(RoveError, match="not removed"):
        await world.server.call(Kind.ALLOC_GC, AllocRequest(alloc_id=alloc.id), Empty)
    world.machine.tasks[f"{alloc.id}/main"].end(Exit())
    client = world.agents[-1]
    await until(client.runners[alloc.id].ended.is_set)
    await world.server.call(Kind.ALLOC_GC, AllocRequest(alloc_id=alloc.id), Empty)
    assert not (world.data_dir / "alloc" / alloc.id).exists()
    assert alloc.id not in client.runners


async def test_the_agents_log_can_be_followed(world: World) -> None:
    await world.agent()
    stream = await world.server.open(Kind.NODE_MONITOR, MonitorRequest(log_level="warn"))
    root = logging.getLogger()
    before = len(root.handlers)
    await until(lambda: any(type(handler).__name__ == "_Tail" for handler in root.handlers))
    logging.getLogger("rove.test").warning("look here")
    chunk = msgspec.msgpack.decode(await stream.receive() or b"", type=StreamChunk)
    assert b"look here" in chunk.data
    await stream.close()
    await until(lambda: len(root.handlers) <= before)


async def test_an_unknown_log_level_is_refused(world: World) -> None:
    await world.agent()
    stream = await world.server.open(Kind.NODE_MONITOR, MonitorRequest(log_level="loud"))
    with pytest.raises(RoveError, match="loud"):
        await stream.receive()
