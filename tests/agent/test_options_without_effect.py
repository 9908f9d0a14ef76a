"""An option either does something, or whoever sets it is told that it does not."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import rove.agent
from rove.agent import config as config_module
from rove.agent.config import AgentConfig, Section
from rove.agent.config_decode import decode_config
from rove.agent.config_effect import WITHOUT_EFFECT, unsafe_to_ignore, without_effect
from rove.agent.config_files import load_config, parse_config

TUNING = {"AclConfig", "TlsConfig", "EtcdStore", "ConsulApiConfig", "UiConfig", "UiLabel", "TemplateConfig", "Wait",
          "Users", "SearchConfig", "PlanRejectionTracker"}  # fmt: skip
"""Sections whose switch is refused or warned of as a whole, or which only dress the page."""
HARMLESS = {"collection_interval_s", "in_memory_collection_interval_s", "in_memory_retention_period_s",
            "disable_hostname", "prometheus_metrics", "node_limit_for_feasibility_checks", "args", "retry_interval_s",
            "retry_max", "sources", "warnings", "acl", "tls", "ui", "consul_api", "encrypt"}  # fmt: skip
"""What cannot disappoint anybody: figures are always served, every node is looked at, dialling goes on for ever.
Encryption is refused."""


def configuration(text: str) -> AgentConfig:
    return decode_config(parse_config(text, "x.hcl"))


def sections() -> list[type[Section]]:
    found = [kind for kind in vars(config_module).values() if isinstance(kind, type) and issubclass(kind, Section)]
    return [kind for kind in found if kind is not Section and kind.__name__ not in TUNING]


def test_every_option_is_read_somewhere_or_warned_of() -> None:
    folder = Path(rove.agent.__file__).parent
    names = [path for path in folder.glob("*.py") if path.name not in ("config.py", "config_effect.py")]
    limits = folder.parent / "client" / "artifacts" / "limits.py"
    text = "".join(path.read_text() for path in (*names, limits))
    text += (folder / "config.py").read_text().partition("def http_hosts")[2]
    warned = {name for fields in WITHOUT_EFFECT.values() for name in fields}
    for section in sections():
        for field in msgspec.structs.fields(section):
            used = re.search(rf"\b{field.name}\b", text) or field.name in warned | HARMLESS
            assert used, f"{section.__name__}.{field.name} is neither read nor warned of"


def test_defaults_and_dev_warn_of_nothing() -> None:
    assert without_effect(AgentConfig()) == []
    assert without_effect(load_config([], dev=True)) == []
    assert unsafe_to_ignore(AgentConfig()) == ""


def test_what_does_nothing_is_named_as_it_is_written() -> None:
    text = 'plugin_dir = "/opt"\nclient {\n chroot_env {\n "/a" = "/a"\n }\n}\n'
    text += 'limits {\n rpc_handshake_timeout = "1s"\n}\n'
    said = without_effect(configuration(text))
    assert [line.partition(" ")[0] for line in said] == [
        "plugin_dir", "client.chroot_env", "limits.rpc_handshake_timeout",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "acl {\n enabled = true\n}",
        "tls {\n http = true\n}",
        "tls {\n rpc = true\n}",
        "tls {\n verify_https_client = true\n}",
        'server {\n encrypt = "s3cret"\n}',
        "server {\n enabled = true\n bootstrap_expect = 3\n}",
        'server {\n enabled = true\n retry_join = ["b"]\n}',
        'server {\n enabled = true\n start_join = ["b"]\n}',
        'server {\n enabled = true\n server_join {\n retry_join = ["b"]\n }\n}',
    ],
)
def test_safety_that_is_not_there_is_not_passed_over(text: str) -> None:
    assert "not built yet" in unsafe_to_ignore(configuration(text))


@pytest.mark.parametrize(
    "text",
    [
        "server {\n enabled = true\n bootstrap_expect = 1\n}",
        'server {\n enabled = true\n encrypt = ""\n retry_join = []\n}',
        "server {\n bootstrap_expect = 3\n}",
        'client {\n enabled = true\n servers = ["a"]\n server_join {\n retry_join = ["b"]\n }\n}',
        'server {\n enabled = true\n}\nclient {\n enabled = true\n server_join {\n retry_join = ["b"]\n }\n}',
    ],
)
def test_one_server_and_nodes_that_name_it_are_well(text: str) -> None:
    assert unsafe_to_ignore(configuration(text)) == ""


def test_the_key_to_encrypt_with_is_in_no_repr() -> None:
    config = configuration('server {\n encrypt = "s3cret"\n bootstrap_expect = 3\n}')
    assert "s3cret" not in repr(config)
    assert "bootstrap_expect=3" in repr(config)
