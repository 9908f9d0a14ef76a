from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rove.agent.config_files import load_config
from rove.cli.agent import agent as agent_command
from rove.cli.agent import agent_flags


def _flags(*args: str) -> dict[str, Any]:
    with agent_command.make_context("agent", list(args)) as context:
        return agent_flags(context.params)


def test_flags_are_options_under_nomads_names() -> None:
    flags = _flags(
        "-server", "-client", "-bind=0.0.0.0", "-data-dir", "/d", "-dc", "dc2", "-region=eu", "-node", "n1",
        "-node-class", "big", "-node-pool", "gpu", "-servers", "a,b:1", "-servers=c", "-bootstrap-expect", "3",
        "-meta", "rack=r1", "-retry-join", "x", "-log-level", "warn", "-log-json", "-acl-enabled",
    )  # fmt: skip
    config = load_config(flags=flags)
    assert config.server.enabled
    assert config.client.enabled
    assert (config.bind_addr, config.data_dir, config.datacenter, config.region) == ("0.0.0.0", "/d", "dc2", "eu")
    assert (config.name, config.client.node_class, config.client.node_pool) == ("n1", "big", "gpu")
    assert config.server_addresses() == ("a:4647", "b:1", "c:4647")
    assert config.server.bootstrap_expect == 3
    assert config.client.meta == {"rack": "r1"}
    assert config.join_addresses() == ("x:4647",)
    assert (config.log_level, config.log_json, config.acl.enabled) == ("WARN", True, True)


def test_flags_that_are_not_given_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.hcl"
    file.write_text('data_dir = "/d"\nlog_json = true\nserver { enabled = true }')
    config = load_config([str(file)], _flags())
    assert config.log_json
    assert config.server.enabled


def test_a_bad_configuration_ends_before_anything_starts(rove: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.hcl"
    file.write_text("sevrer { enabled = true }")
    result = rove("agent", "-config", str(file))
    assert result.code == 1
    assert 'did you mean "server"?' in result.err


def test_configuration_is_checked_without_an_agent(rove: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.hcl"
    file.write_text('data_dir = "/d"\nserver { enabled = true }\nvault { enabled = true }')
    result = rove("config", "validate", str(file))
    assert result.code == 0
    assert "vault has no effect" in result.err
    file.write_text('data_dir = "/d"\nserver {\n enabled = true\n bootstrap_expect = 3\n}')
    result = rove("config", "validate", str(file))
    assert result.code == 1
    assert "each would be a cluster of its own" in result.err
    file.write_text("server {")
    assert rove("config", "validate", str(file)).code == 1


@pytest.mark.parametrize("meta", ["rack", "=r1"])
def test_meta_without_a_key_or_value_is_refused(meta: str, rove: Any) -> None:
    assert rove("agent", "-dev", "-meta", meta).code == 1
