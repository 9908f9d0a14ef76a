"""Real services on a real agent: discovery, health, names in the DNS."""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path
from typing import Any

from .conftest import AgentProcess, Agents, free_ports, until

SECOND = 1_000_000_000
WEB = """
import http.server, os, sys, time

VERSION, PORT, SLOW = sys.argv[1], int(os.environ["NOMAD_PORT_http"]), float(sys.argv[2])
STARTED = time.monotonic()


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        warm = time.monotonic() - STARTED >= SLOW and not os.path.exists("broken")
        code, text = (200, VERSION.encode()) if warm else (503, b"warming up")
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


time.sleep(0.2)  # a while in which nobody listens
Server(("", PORT), Page).serve_forever()
"""


def a_web_job(version: str, folder: Path, *, count: int = 3, slow_s: float = 0.4, **update: Any) -> dict[str, Any]:
    """A web server that answers with its version; 503 at first, as one that warms up."""
    program = folder / "web.py"
    program.write_text(WEB)
    check = {
        "Type": "http", "Path": "/", "Interval": SECOND, "Timeout": 5 * SECOND, "Name": "answers",
    }  # fmt: skip
    return {
        "ID": "web",
        "Datacenters": ["*"],
        "Update": {
            "MaxParallel": 1, "MinHealthyTime": SECOND // 2, "HealthyDeadline": 40 * SECOND,
            "ProgressDeadline": 120 * SECOND, **update,
        },
        "TaskGroups": [
            {
                "Name": "web",
                "Count": count,
                "ShutdownDelay": 2 * SECOND,
                "Networks": [{"DynamicPorts": [{"Label": "http"}]}],
                "Services": [
                    {
                        "Name": "web", "Provider": "nomad", "PortLabel": "http", "Tags": ["live", f"v{version}"],
                        "CanaryTags": ["canary"], "Checks": [check],
                    }
                ],
                "Tasks": [
                    {
                        "Name": "main",
                        "Driver": "raw_exec",
                        "Config": {"command": sys.executable, "args": [str(program), version, str(slow_s)]},
                        "Resources": {"CPU": 20, "MemoryMB": 32},
                    }
                ],
            }
        ],
    }  # fmt: skip


def deployment(agent: AgentProcess) -> dict[str, Any]:
    found: dict[str, Any] | None = agent.get("/v1/job/web/deployment")
    return found or {"JobVersion": -1, "Status": "", "ID": ""}


def wait_deployed(agent: AgentProcess, version: int, status: str = "successful") -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        every = agent.get("/v1/job/web/deployments")
        return next((each for each in every if each["JobVersion"] == version and each["Status"] == status), None)

    found: dict[str, Any] = until(ended, f"version {version} is {status}", 120)
    return found


def instances(agent: AgentProcess, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = agent.get(f"/v1/service/web{query}")
    return found


def deployed(agents: Agents, folder: Path, **update: Any) -> AgentProcess:
    agent = agents.dev().start()
    agent.wait_nodes()
    agent.register(a_web_job("1", folder, **update))
    wait_deployed(agent, 0)
    until(lambda: len(instances(agent)) == 3, "three instances")
    return agent


def test_an_instance_is_handed_out_only_while_its_checks_pass(agents: Agents, tmp_path: Path) -> None:
    agent = deployed(agents, tmp_path)
    victim = instances(agent)[0]
    root = agent.get(f"/v1/allocation/{victim['AllocID']}")
    assert root["ClientDescription"] == "Tasks are running"
    done = agent.cli("alloc", "exec", "-task", "main", victim["AllocID"], "touch", "broken")
    assert done.returncode == 0, done.stderr
    until(lambda: victim["ID"] not in [each["ID"] for each in instances(agent)], "it is not handed out")
    assert len(instances(agent)) == 2
    everything = {each["ID"]: each["Health"] for each in instances(agent, "?health=any")}
    assert (len(everything), everything[victim["ID"]]) == (3, "critical")
    checks = list(agent.get(f"/v1/client/allocation/{victim['AllocID']}/checks").values())
    assert [(check["Status"], check["StatusCode"], check["Check"]) for check in checks] == [("failure", 503, "answers")]
    until(
        lambda: "503" in agent.get(f"/v1/allocation/{victim['AllocID']}")["ClientDescription"],
        "the server knows what the check says",
    )
    agent.cli("alloc", "exec", "-task", "main", victim["AllocID"], "rm", "broken")
    until(lambda: len(instances(agent)) == 3, "it is back")


def test_a_deployment_says_which_check_it_waits_for(agents: Agents, tmp_path: Path) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    agent.register(
        a_web_job("1", tmp_path, count=1, slow_s=3600, HealthyDeadline=4 * SECOND, ProgressDeadline=8 * SECOND)
    )
    until(lambda: "503" in agent.allocs("web")[0]["ClientDescription"], "the check is named while it is waited for")
    assert instances(agent) == []
    why = agent.get(f"/v1/deployment/{deployment(agent)['ID']}/why")
    texts = " ".join(wait["Text"] for wait in why["WaitingFor"])
    assert 'check "answers" of service "web"' in texts
    assert "503" in texts
    until(lambda: (agent.allocs("web")[0]["DeploymentStatus"] or {}).get("Healthy") is False, "it is unhealthy")
    events = agent.allocs("web")[0]["TaskStates"]["main"]["Events"]
    reasons = [event["DisplayMessage"] for event in events if event["Type"] == "Alloc Unhealthy"]
    assert 'check "answers" of service "web"' in reasons[0]
    assert "503" in reasons[0]


def test_an_agent_that_comes_back_does_not_disturb_discovery(agents: Agents, tmp_path: Path) -> None:
    agent = agents.both().start()
    agent.wait_nodes()
    agent.register(a_web_job("1", tmp_path))
    wait_deployed(agent, 0)
    before = until(lambda: len(instances(agent)) == 3 and instances(agent), "three instances")
    agent.kill()
    agent.start()
    agent.wait_nodes()
    for _ in range(30):
        assert [each["ID"] for each in instances(agent)] == [each["ID"] for each in before]
        agent.get("/v1/service/web?index=1&wait=50ms")
    until(lambda: len(agent.running("web")) == 3, "all run")
    agent.delete("/v1/job/web")
    until(lambda: agent.get("/v1/services") == [], "all are gone")


def test_check_restart_restarts_the_task(agents: Agents, tmp_path: Path) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    job = a_web_job("1", tmp_path, count=1)
    group = job["TaskGroups"][0]
    group["RestartPolicy"] = {"Attempts": 5, "Interval": 300 * SECOND, "Delay": SECOND // 10, "Mode": "fail"}
    group["Services"][0]["Checks"][0]["CheckRestart"] = {"Limit": 2, "Grace": SECOND}
    agent.register(job)
    wait_deployed(agent, 0)
    alloc = agent.running("web")[0]["ID"]
    assert agent.cli("alloc", "exec", "-task", "main", alloc, "touch", "broken").returncode == 0
    until(lambda: agent.get(f"/v1/allocation/{alloc}")["TaskStates"]["main"]["Restarts"] >= 1, "it was restarted")
    events = agent.get(f"/v1/allocation/{alloc}")["TaskStates"]["main"]["Events"]
    assert any(e["Type"] == "Restart Signaled" and "answers" in e["DisplayMessage"] for e in events)
    agent.cli("alloc", "exec", "-task", "main", alloc, "rm", "-f", "broken")
    until(lambda: len(instances(agent)) == 1, "it is back")


def dns_reply(port: int, name: str, kind: int) -> bytes:
    """One DNS query over UDP; the reply as it is."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"
    query = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">HH", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(query, ("127.0.0.1", port))
        return sock.recv(4096)


def test_services_have_names_in_the_dns_of_servers_and_nodes(agents: Agents, tmp_path: Path) -> None:
    at_server, at_node = free_ports(2)
    server = agents.server()
    server.config.write_text(f"{server.config.read_text()}\ndns {{\n  enabled = true\n  port = {at_server}\n}}\n")
    server.start()
    node = agents.node(server, "node", config=f"dns {{\n  enabled = true\n  port = {at_node}\n}}\n").start()
    server.wait_nodes()
    server.register(a_web_job("1", tmp_path))
    wait_deployed(server, 0)
    found = until(lambda: len(instances(server)) == 3 and instances(server), "three instances")
    for port in (at_server, at_node):
        answers = dns_reply(port, "web.service.rove", 1)
        assert answers[3] & 15 == 0
        assert all(socket.inet_aton(each["Address"]) in answers for each in found)
        services = dns_reply(port, "web.service.rove", 33)
        assert all(struct.pack(">HHH", 1, 1, each["Port"]) in services for each in found)
        assert dns_reply(port, "nobody.service.rove", 1)[3] & 15 == 3
    assert node.get("/v1/services") == server.get("/v1/services")


def test_the_command_line_lists_shows_and_deletes(agents: Agents, tmp_path: Path) -> None:
    agent = deployed(agents, tmp_path)
    assert "web" in agent.cli("service", "list", check=True).stdout
    shown = agent.cli("service", "info", "-verbose", "web", check=True).stdout
    first = instances(agent)[0]
    assert first["ID"] in shown
    assert f"{first['Address']}:{first['Port']}" in shown
    chosen = agent.get("/v1/service/web?choose=1%7Cme")
    assert len(chosen) == 1
    assert agent.get("/v1/service/web?choose=1%7Cme") == chosen
    assert agent.get("/v1/service/web?filter=Tags%20contains%20%22nothing%22") == []
    assert len(agent.get("/v1/job/web/services")) == 3
    assert len(agent.get(f"/v1/allocation/{first['AllocID']}/services")) == 1
    agent.cli("service", "delete", "web", first["ID"], check=True)
    assert first["ID"] not in [each["ID"] for each in instances(agent)]
