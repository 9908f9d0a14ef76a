from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rove.agent.config import AgentConfig, is_address, with_port
from rove.agent.config_files import load_config, parse_config
from rove.errors import BadRequestError

FULL = """
name       = "n1"
region     = "eu"
datacenter = "dc2"
data_dir   = "/var/lib/rove"
bind_addr  = "0.0.0.0"
log_level  = "warn"
log_json   = true
leave_on_terminate = true

ports {
  http = 5646
  rpc  = 5647
  serf = 5648
}
addresses {
  http = "127.0.0.1 10.0.0.1"
}
advertise {
  rpc = "10.0.0.1:5647"
}
server {
  enabled           = true
  bootstrap_expect  = 3
  heartbeat_grace   = "15s"
  job_max_source_size = "2M"
  default_scheduler_config {
    scheduler_algorithm = "spread"
    preemption_config {
      service_scheduler_enabled = true
    }
  }
  server_join {
    retry_join = ["10.0.0.2", "10.0.0.3:9999"]
  }
}
client {
  enabled    = true
  servers    = ["10.0.0.2", "h:4647"]
  node_class = "big"
  node_pool  = "gpu"
  meta {
    "rack" = "r1"
    "slot" = 3
    fast   = true
  }
  options = {
    "driver.allowlist" = "docker,raw_exec"
  }
  reserved {
    cpu            = 200
    memory         = 512
    reserved_ports = "22,8000-8010"
  }
  host_volume "certs" {
    path      = "/etc/certs"
    read_only = true
  }
  host_volume "data" {
    path = "/srv"
  }
  host_network "public" {
    cidr = "203.0.113.0/24"
  }
  max_kill_timeout = "1m30s"
  template {
    wait {
      min = "250ms"
      max = "1h"
    }
  }
  drain_on_shutdown {
    deadline = "10m"
  }
}
plugin "docker" {
  config {
    allow_privileged = true
    volumes {
      enabled = true
    }
    auth {
      config = "/etc/docker.json"
    }
  }
}
plugin "raw_exec" {
  config { enabled = true }
}
telemetry {
  collection_interval = "5s"
  prometheus_metrics  = true
}
limits {
  http_max_conns_per_client = 500
}
ui {
  label {
    text = "staging"
  }
}
http_api_response_headers {
  "X-Thing" = "yes"
}
"""


def _load(tmp_path: Path, text: str, name: str = "a.hcl", **more: Any) -> AgentConfig:
    file = tmp_path / name
    file.write_text(text)
    return load_config([str(file)], **more)


def test_every_kind_of_option_is_read(tmp_path: Path) -> None:
    config = _load(tmp_path, FULL)
    assert (config.name, config.region, config.datacenter) == ("n1", "eu", "dc2")
    assert config.log_json
    assert config.leave_on_terminate
    assert config.ports.http == 5646
    assert config.http_hosts() == ("127.0.0.1", "10.0.0.1")
    assert config.rpc_host() == "0.0.0.0"
    assert config.advertised_rpc() == "10.0.0.1:5647"
    assert config.server.heartbeat_grace_s == 15
    assert config.server.job_max_source_size_bytes == 2_000_000
    assert config.server.default_scheduler_config.scheduler_algorithm == "spread"
    assert config.server.default_scheduler_config.preemption_config.service_scheduler_enabled
    assert config.server.default_scheduler_config.preemption_config.system_scheduler_enabled
    assert config.join_addresses() == ("10.0.0.2:4647", "10.0.0.3:9999")
    assert config.server_addresses() == ("10.0.0.2:4647", "h:4647")
    assert config.client.meta == {"rack": "r1", "slot": "3", "fast": "true"}
    assert config.client.options == {"driver.allowlist": "docker,raw_exec"}
    assert config.client.reserved.reserved_ports == "22,8000-8010"
    assert config.client.host_volume["certs"].read_only
    assert config.client.host_volume["data"].path == "/srv"
    assert config.client.host_network["public"].cidr == "203.0.113.0/24"
    assert config.client.max_kill_timeout_s == 90
    assert config.client.template.wait is not None
    assert config.client.template.wait.min_s == 0.25
    assert config.client.drain_on_shutdown is not None
    assert config.client.drain_on_shutdown.deadline_s == 600
    docker = {"allow_privileged": True, "volumes": {"enabled": True}, "auth": {"config": "/etc/docker.json"}}
    assert config.plugin["docker"].config == docker
    assert config.plugin["raw_exec"].config == {"enabled": True}
    assert config.telemetry.collection_interval_s == 5
    assert config.limits.http_max_conns_per_client == 500
    assert config.ui.label.text == "staging"
    assert config.http_api_response_headers == {"X-Thing": "yes"}
    assert config.warnings == ()


def test_json_says_the_same(tmp_path: Path) -> None:
    values = {
        "data_dir": "/d", "server": {"enabled": True}, "client": {"enabled": True, "meta": [{"rack": "r1"}]},
        "plugin": [{"docker": [{"config": [{"allow_privileged": True}]}]}],
    }  # fmt: skip
    config = _load(tmp_path, json.dumps(values), "a.json")
    assert config.client.meta == {"rack": "r1"}
    assert config.plugin["docker"].config == {"allow_privileged": True}


def test_what_is_not_said_has_a_safe_default() -> None:
    config = AgentConfig()
    assert config.bind_addr == "127.0.0.1"
    assert (config.region, config.datacenter) == ("global", "dc1")
    assert not config.server.enabled
    assert not config.client.enabled
    assert config.plugin == {}
    assert config.advertised_http() == "127.0.0.1:4646"


def test_later_files_win_and_folders_are_read_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "20.json").write_text('{"client": {"meta": {"a": "20", "b": "20"}}}')
    (folder / "10.hcl").write_text(
        'data_dir = "/d"\nclient {\n enabled = true\n servers = ["x"]\n meta { "a" = "10" }\n}'
    )
    (folder / "ignored.txt").write_text("nonsense {{{")
    last = tmp_path / "last.hcl"
    last.write_text('region = "eu"\nclient { meta { "b" = "last" } }')
    config = load_config([str(folder), str(last)], {"region": "flag"})
    assert config.client.enabled
    assert config.client.meta == {"a": "20", "b": "last"}
    assert config.region == "flag"
    assert [Path(source).name for source in config.sources] == ["10.hcl", "20.json", "last.hcl"]


def test_dev_is_a_whole_agent_on_loopback_and_flags_win_over_it() -> None:
    config = load_config(dev=True)
    assert config.dev
    assert config.server.enabled
    assert config.client.enabled
    assert config.bind_addr == "127.0.0.1"
    assert config.plugin["raw_exec"].config == {"enabled": True}
    assert config.telemetry.prometheus_metrics
    assert load_config(dev=True, flags={"bind_addr": "0.0.0.0"}).bind_addr == "0.0.0.0"


REFUSED = [
    ('regoin = "eu"', 'a.hcl:1: there is no option "regoin" at the top level; did you mean "region"?'),
    ("server {\n  enabld = true\n}", 'a.hcl:2: there is no option "enabld" in "server"; did you mean "enabled"?'),
    ("client {\n  reserved {\n    ram = 3\n  }\n}", 'a.hcl:3: there is no option "ram" in "client.reserved"'),
    ('client {\n host_volume "x" {\n  paht = "/"\n }\n}', 'there is no option "paht" in "client.host_volume.x"'),
    ("region = 3", "a.hcl:1: region: expected a text in quotes, not 3"),
    ('ports {\n http = "many"\n}', 'a.hcl:2: ports.http: expected a whole number, not "many"'),
    ('log_json = "maybe"', 'log_json: expected true or false, not "maybe"'),
    ('server {\n heartbeat_grace = "5 parsecs"\n}', 'a.hcl:2: server.heartbeat_grace: expected a duration'),
    ("server {\n heartbeat_grace = 5\n}", 'expected a duration such as "30s", not 5'),
    ('server {\n job_max_source_size = "big"\n}', "expected a size"),
    ('client {\n servers = "h"\n}', 'client.servers: expected a list of texts, not "h"'),
    ("server = 3", "server: this is a stanza"),
    ('region {\n x = "y"\n}', "region: this is a single value, not a stanza"),
    ('log_level = "loud"', 'log_level: "loud" is none of TRACE'),
    ("ports {\n http = 70000\n}", "ports.http: 70000 is no port"),
    ("ports {\n http = 4647\n}", "http and rpc are both 4647"),
    ("client {\n min_dynamic_port = 9\n max_dynamic_port = 5\n}", "is no range of ports"),
    ('region = "a b"', "cannot be a name"),
    ("client {\n cpu_total_compute = -1\n}", "client.cpu_total_compute: -1 is negative"),
    ('region = "eu', "a.hcl:1"),
    ("server {", "a.hcl:1"),
    ('client {\n servers = ["http://h:4646"]\n}', 'client.servers: "http://h:4646" is no address: write host'),
    ('client {\n servers = ["h:p"]\n}', '"h:p" is no address'),
    ('client {\n servers = ["h:70000"]\n}', '"h:70000" is no address'),
    ('client {\n servers = [""]\n}', '"" is no address'),
    ('client {\n servers = ["a:b:c"]\n}', '"a:b:c" is no address'),
    ('client {\n server_join {\n  retry_join = ["provider=aws tag=x"]\n }\n}', "client.server_join.retry_join"),
    ('server {\n retry_join = ["h/x"]\n}', 'server.retry_join: "h/x" is no address'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_a_mistake_is_refused_with_its_place(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError) as caught:
        _load(tmp_path, text, dev=True)
    assert problem in caught.value.why.replace(f"{tmp_path}/", "")


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError) as caught:
        _load(tmp_path, 'regoin = "x"\nlog_json = 5\nclient {\n nod_class = "y"\n}')
    assert len(caught.value.why.splitlines()) == 3


def test_json_mistakes_name_their_line(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError) as caught:
        _load(tmp_path, '{\n  "region": "eu",\n  "regoin": "x"\n}', "a.json")
    assert "a.json:3: " in caught.value.why
    for text in ("{,}", "[1]", '{"a": ' * 100_000):
        with pytest.raises(BadRequestError):
            _load(tmp_path, text, "a.json")


def test_what_has_no_effect_here_is_a_warning(tmp_path: Path) -> None:
    text = """
    consul { address = "127.0.0.1:8500" }
    vault { enabled = false }
    server { raft_protocol = 3 }
    telemetry { datadog_address = "x" }
    """
    config = _load(tmp_path, text, dev=True)
    assert sorted(warning.partition(": ")[2] for warning in config.warnings) == [
        "consul has no effect in Rove",
        "server.raft_protocol has no effect in Rove",
        "telemetry.datadog_address has no effect in Rove",
        "vault has no effect in Rove",
    ]


INCOMPLETE = [
    ("", "neither server nor client is enabled"),
    ("server { enabled = true }", "data_dir: where to keep the state is not said"),
    ('data_dir = "here"\nserver { enabled = true }', "must be an absolute path"),
    ('data_dir = "/d"\nclient { enabled = true }', "the node has no server to connect to"),
]


@pytest.mark.parametrize(("text", "problem"), INCOMPLETE)
def test_an_agent_that_could_not_run_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match="not accepted") as caught:
        _load(tmp_path, text)
    assert problem in caught.value.why
    _load(tmp_path, text.replace('"here"', '"/d"'), complete=False)


def test_an_address_may_be_a_template(tmp_path: Path) -> None:
    text = 'bind_addr = "{{ GetPrivateIP }}"\nadvertise {\n http = "{{ GetInterfaceIP \\"eth0\\" }}:80"\n}'
    found = {"GetPrivateIP": "10.1.2.3", 'GetInterfaceIP "eth0"': "10.9.9.9"}
    config = _load(tmp_path, text, dev=True, lookup=found.__getitem__)
    assert config.bind_addr == "10.1.2.3"
    assert config.advertised_http() == "10.9.9.9:80"


@pytest.mark.parametrize("template", ["{{ GetDefaultInterfaces | attr }}", "{{ GetInterfaceIP `nosuch0` }}", "{{ open"])
def test_a_template_that_is_not_understood_is_refused(template: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError) as caught:
        _load(tmp_path, json.dumps({"bind_addr": template}), "a.json", dev=True)
    assert "bind_addr" in caught.value.why


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    for path in (tmp_path / "none.hcl", tmp_path):
        with pytest.raises(BadRequestError):
            load_config([str(path)])
    (tmp_path / "latin.hcl").write_bytes(b'name = "caf\xe9"')
    with pytest.raises(BadRequestError, match="latin.hcl"):
        load_config([str(tmp_path / "latin.hcl")])


@pytest.mark.parametrize(
    ("address", "full"),
    [
        ("h", "h:1"),
        ("h:2", "h:2"),
        ("::1", "[::1]:1"),
        ("[::1]", "[::1]:1"),
        ("[::1]:2", "[::1]:2"),
        ("10.0.0.1", "10.0.0.1:1"),
    ],
)
def test_a_port_is_added_where_there_is_none(address: str, full: str) -> None:
    assert with_port(address, 1) == full
    assert is_address(address)


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    config = _load(tmp_path, 'acl {\n replication_token = "s3cret"\n}', dev=True)
    assert "s3cret" not in repr(config)


def test_a_text_is_parsed_without_touching_the_disk() -> None:
    assert parse_config('region = "eu"', "x.hcl").plain() == {"region": "eu"}
