"""Starting an agent where something is in the way: one plain message, and nothing else happens."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import AgentProcess, Agents, a_job, until


def refused(agent: AgentProcess) -> str:
    """Start an agent that must not start; what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "rove", "agent", "-config", str(agent.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr


def test_a_taken_port_is_a_one_line_error(agents: Agents) -> None:
    agent = agents.both()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", agent.http))
        holder.listen()
        said = refused(agent)
    assert said.splitlines()[0].startswith(f"cannot listen on 127.0.0.1:{agent.http}")
    assert "fix:" in said


def test_a_second_agent_on_the_same_data_is_refused(agents: Agents) -> None:
    first = agents.both().start()
    other = agents.both("other")
    other.config.write_text(other.config.read_text().replace(f'"{agents.folder}/other"', f'"{agents.folder}/both"'))
    said = refused(other)
    assert "another" in said
    first.get("/v1/jobs")


def test_an_unwritable_data_dir_is_named(agents: Agents) -> None:
    agent = agents.both("blocked")
    (agents.folder / "blocked").write_text("a file where a folder is wanted")
    said = refused(agent)
    assert "data_dir" in said
    assert "blocked" in said


@pytest.mark.parametrize("stanza", ["acl {\n  enabled = true\n}\n", "tls {\n  http = true\n}\n"], ids=["acl", "tls"])
def test_an_agent_does_not_run_open_where_it_is_told_to_be_closed(agents: Agents, stanza: str) -> None:
    agent = agents.both(config=stanza)
    assert "not built yet" in refused(agent)


def test_unknown_options_are_refused_with_a_hint(agents: Agents) -> None:
    agent = agents.both(config='datacentre = "x"\n')
    said = refused(agent)
    assert "datacentre" in said
    assert "datacenter" in said
    assert str(agent.config.name) in said


def test_a_damaged_row_is_named_and_the_rest_served(agents: Agents) -> None:
    server = agents.server().start()
    for name in ("lion", "zebra", "tiger"):
        server.register(a_job(name, "exec sleep 1"))
    server.kill()
    state = agents.folder / "server" / "server" / "state.db"
    with sqlite3.connect(state) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    content = state.read_bytes()
    place = content.find(b"zebra")
    assert place > 0, tables
    state.write_bytes(content[:place] + b"ZEBRA" + content[place + 5 :])
    server.start()
    names = {job["ID"] for job in server.get("/v1/jobs")}
    assert {"lion", "tiger"} <= names
    assert "left out" in server.log.read_text() or "damaged" in server.log.read_text()


def test_sigterm_leaves_cleanly_and_tasks_run_on(agents: Agents) -> None:
    agent = agents.both().start()
    agent.wait_nodes()
    agent.register(a_job("stays", "exec sleep 1000"))
    [before] = agent.wait_running("stays", 1)
    assert agent.terminate() == 0
    assert "Traceback" not in agent.log.read_text()
    agent.start()
    [after] = agent.wait_running("stays", 1)
    assert after["ID"] == before["ID"]
    assert agent.get(f"/v1/allocation/{after['ID']}")["TaskStates"]["main"]["Restarts"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_dev_leaves_nothing_behind(agents: Agents, number: signal.Signals) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    agent.register(a_job("ends", "exec sleep 987654"))
    agent.wait_running("ends", 1)
    assert agent.process is not None
    agent.process.send_signal(number)
    assert agent.process.wait(60) == 0
    assert "Traceback" not in agent.log.read_text()
    sleeping = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and b"987654" in _command(entry)]
    assert sleeping == []


def _command(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


def test_sighup_reloads_the_log_level(agents: Agents) -> None:
    agent = agents.server().start()
    agent.config.write_text(agent.config.read_text() + 'log_level = "DEBUG"\n')
    assert agent.process is not None
    os.kill(agent.process.pid, signal.SIGHUP)
    until(lambda: "log level DEBUG" in agent.log.read_text(), "the agent says what it took over")


def test_members_and_health(agents: Agents) -> None:
    agent = agents.both().start()
    agent.wait_nodes()
    assert "alive" in agent.cli("server", "members", check=True).stdout
    health = agent.get("/v1/agent/health")
    assert health["server"]["ok"] is True
    assert health["client"]["ok"] is True
    [member] = agent.get("/v1/agent/members")["Members"]
    assert {"role", "region", "dc", "build", "port", "raft_vsn"} <= set(member["Tags"])
    assert agent.get("/v1/status/leader") == f"{member['Addr']}:{member['Tags']['port']}"
