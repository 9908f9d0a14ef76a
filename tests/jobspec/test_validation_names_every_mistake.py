"""Each rule of validation: one mistake, one problem, at its place, in words that help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rove.jobspec import Problem, canonicalize, decode_api_job, parse_job, validate

Check = Callable[..., list[Problem]]
NET = 'network {\n port "http" {}\n}\n'


def svc(extra: str) -> str:
    """A network and a service on it, with something put into the service."""
    return f'{NET}service {{\n name = "s"\n port = "http"\n provider = "nomad"\n {extra}\n}}'


def check(extra: str) -> str:
    """That service with an http check, with something put into the check."""
    return svc(f'check {{\n type = "http"\n path = "/"\n interval = "10s"\n timeout = "2s"\n {extra}\n}}')


G = 'group "g"'
T = 'group "g" > task "t"'

# (what is put where, the place of the problem, words of the problem)
RULES: list[tuple[dict[str, str], str, str]] = [
    # the job
    ({"job": "priority = 0"}, "", ""),  # 0 means "not given", as in the API
    ({"job": "priority = 101"}, "priority", "1 to 100"),
    ({"job": "priority = -1"}, "priority", "1 to 100"),
    ({"job": 'id = "a b"'}, "id", "a space"),
    ({"job": 'id = "a\\nb"'}, "id", "line break"),
    ({"job": 'id = "a\\u0000b"'}, "id", "NUL"),
    ({"job": 'namespace = "a/b"'}, "namespace", "namespace"),
    ({"job": 'node_pool = "a b"'}, "node_pool", "node pool"),
    ({"job": 'datacenters = ["dc1", ""]'}, "datacenters", "empty"),
    ({"job": f'ui {{ description = "{"x" * 1001}" }}'}, "ui > description", "1000"),
    ({"job": 'periodic { cron = "* * * * *" }'}, "periodic", "only batch"),
    ({"job": "parameterized {}"}, "parameterized", "only batch"),
    ({"type": "batch", "job": "periodic {}"}, "periodic", "one of the two"),
    ({"type": "batch", "job": 'periodic {\n cron = "@daily"\n crons = ["@daily"]\n}'}, "periodic", "one of the two"),
    ({"type": "batch", "job": 'periodic { cron = "61 * * * *" }'}, "periodic > cron", "minute"),
    ({"type": "batch", "job": 'periodic { cron = "0 0 30 2 *" }'}, "periodic > cron", "never comes"),
    ({"type": "batch", "job": 'periodic { crons = ["0 0 * * *", "x"] }'}, "periodic > crons", "fields"),
    ({"type": "batch", "job": 'periodic {\n cron = "@daily"\n time_zone = "Mars/Olympus"\n}'},
     "periodic > time_zone", "time zone"),
    ({"type": "batch", "job": 'parameterized { payload = "maybe" }'}, "parameterized > payload", "optional"),
    ({"type": "batch", "job": 'parameterized {\n meta_required = ["a"]\n meta_optional = ["a"]\n}'},
     "parameterized", "both"),
    ({"type": "system", "job": 'affinity {\n attribute = "${node.class}"\n value = "x"\n}'}, "affinity", "every node"),
    ({"type": "system", "job": 'spread { attribute = "${node.class}" }'}, "spread", "every node"),
    # conditions
    ({"job": 'constraint {\n attribute = "${node.class}"\n operator = "regex"\n value = "x"\n}'},
     "constraint > operator", 'did you mean "regexp"'),
    ({"job": 'constraint {\n attribute = "${node.class}"\n regexp = "("\n}'}, "constraint", "RE2"),
    ({"job": 'constraint {\n attribute = "${node.class}"\n version = "new"\n}'}, "constraint", "version condition"),
    ({"job": 'constraint {\n attribute = "${node.class}"\n semver = ">= 1.x"\n}'}, "constraint", "semver condition"),
    ({"job": 'constraint { value = "x" }'}, "constraint", "attribute"),
    ({"job": 'constraint {\n attribute = "${meta.a}"\n operator = "is_set"\n value = "x"\n}'},
     "constraint > value", "no value"),
    ({"job": 'constraint {\n operator = "distinct_hosts"\n value = "maybe"\n}'}, "constraint", "true or false"),
    ({"job": 'constraint {\n distinct_property = "${meta.a}"\n value = "0"\n}'}, "constraint > value", "above 0"),
    ({"job": 'constraint {\n attribute = "${meta.a}"\n operator = "set_contains"\n}'}, "constraint", "needs a value"),
    ({"task": "constraint { distinct_hosts = true }"}, f"{T} > constraint", "not to a task"),
    ({"group": 'affinity {\n attribute = "${meta.a}"\n value = "x"\n weight = 0\n}'},
     f"{G} > affinity > weight", "not 0"),
    ({"group": 'affinity {\n attribute = "${meta.a}"\n value = "x"\n weight = 101\n}'},
     f"{G} > affinity > weight", "100"),
    ({"group": 'affinity {\n attribute = "${meta.a}"\n operator = "is_set"\n}'},
     f"{G} > affinity > operator", "affinity operator"),
    ({"group": 'affinity { value = "x" }'}, f"{G} > affinity", "attribute"),
    ({"group": "spread { weight = 5 }"}, f"{G} > spread", "attribute"),
    ({"group": 'spread {\n attribute = "${meta.a}"\n weight = 101\n}'}, f"{G} > spread > weight", "1 to 100"),
    ({"group": 'spread {\n attribute = "${meta.a}"\n target "x" { percent = 101 }\n}'},
     f'{G} > spread > target "x" > percent', "0 to 100"),
    ({"group": 'spread {\n attribute = "${meta.a}"\n target "x" { percent = 60 }\n target "y" { percent = 41 }\n}'},
     f"{G} > spread", "101 percent"),
    ({"job": 'constraint { operator = "is_set" }'}, "constraint", 'needs an "attribute"'),
    ({"job": 'constraint { operator = "distinct_property" }'}, "constraint", "that is to differ"),
    ({"job": f'constraint {{\n attribute = "${{meta.a}}"\n value = "{"x" * 4097}"\n}}'}, "constraint", "4096"),
    ({"job": 'spread { attribute = "${meta.a}" }\nspread { attribute = "${meta.a}" }'}, "spread", "more than once"),
    ({"type": "system", "group": 'affinity {\n attribute = "${node.class}"\n value = "x"\n}'},
     f"{G} > affinity", "every node"),
    ({"type": "system", "group": 'spread { attribute = "${node.class}" }'}, f"{G} > spread", "every node"),
    # the group
    ({"group": "count = -1"}, f"{G} > count", "negative"),
    ({"group": "count = 50001"}, f"{G} > count", "50000"),
    ({"type": "system", "group": "count = 2"}, f"{G} > count", "every node"),
    ({"task": 'lifecycle { hook = "prestart" }'}, G, "main task"),
    ({"group": 'task "t" {\n driver = "raw_exec"\n config { command = "x" }\n}'}, T, 'more than one task "t"'),
    ({"task": "leader = true",
      "group": 'task "u" {\n driver = "raw_exec"\n leader = true\n config { command = "x" }\n}'},
     G, "leaders"),
    ({"group": 'restart { mode = "retry" }'}, f"{G} > restart > mode", "fail"),
    ({"group": "restart { attempts = -1 }"}, f"{G} > restart > attempts", "negative"),
    ({"group": 'restart { interval = "4s" }'}, f"{G} > restart > interval", "5s"),
    ({"group": 'restart {\n attempts = 0\n mode = "delay"\n}'}, f"{G} > restart", "never start"),
    ({"group": 'restart {\n attempts = 10\n delay = "1m"\n interval = "5m"\n}'}, f"{G} > restart", "longer than"),
    ({"task": 'restart { mode = "x" }'}, f"{T} > restart > mode", "fail"),
    ({"type": "system", "group": 'reschedule { delay = "10s" }'}, f"{G} > reschedule", "not rescheduled"),
    ({"type": "sysbatch", "job": 'reschedule { delay = "10s" }'}, f"{G} > reschedule", "not rescheduled"),
    ({"group": 'reschedule { delay_function = "linear" }'}, f"{G} > reschedule > delay_function", "constant"),
    ({"group": 'reschedule { delay = "1s" }'}, f"{G} > reschedule > delay", "5s"),
    ({"group": 'reschedule { max_delay = "10s" }'}, f"{G} > reschedule > max_delay", "shorter"),
    ({"group": 'reschedule {\n unlimited = false\n attempts = 2\n interval = "10s"\n}'},
     f"{G} > reschedule > interval", "15s"),
    ({"group": 'reschedule {\n unlimited = false\n attempts = 9\n interval = "1m"\n}'},
     f"{G} > reschedule > interval", "longer than"),
    ({"type": "batch", "group": "update { max_parallel = 1 }"}, f"{G} > update", "no deployments"),
    ({"group": "update { max_parallel = -1 }"}, f"{G} > update > max_parallel", "negative"),
    ({"group": "update { canary = -1 }"}, f"{G} > update > canary", "negative"),
    ({"type": "system", "group": "update { canary = 101 }"}, f"{G} > update > canary", "percentage"),
    ({"group": "update { auto_promote = true }"}, f"{G} > update > auto_promote", "nothing to promote"),
    ({"group": 'update { health_check = "http" }'}, f"{G} > update > health_check", "task_states"),
    ({"group": 'update { stagger = "0s" }'}, f"{G} > update > stagger", "above 0"),
    ({"group": 'update { healthy_deadline = "0s" }'}, f"{G} > update > healthy_deadline", "above 0"),
    ({"group": 'update { min_healthy_time = "5m" }'}, f"{G} > update > min_healthy_time", "not shorter"),
    ({"group": 'update {\n healthy_deadline = "10m"\n progress_deadline = "10m"\n}'},
     f"{G} > update > healthy_deadline", "progress_deadline"),
    ({"type": "batch", "group": "migrate { max_parallel = 1 }"}, f"{G} > migrate", "only service"),
    ({"group": 'migrate { health_check = "manual" }'}, f"{G} > migrate > health_check", "task_states"),
    ({"group": 'migrate { min_healthy_time = "6m" }'}, f"{G} > migrate > min_healthy_time", "longer"),
    ({"group": 'disconnect { lost_after = "-1s" }'}, f"{G} > disconnect > lost_after", "negative"),
    ({"group": 'disconnect { reconcile = "best" }'}, f"{G} > disconnect > reconcile", "best_score"),
    ({"group": 'disconnect {\n lost_after = "1h"\n stop_on_client_after = "1m"\n}'}, f"{G} > disconnect", "exclude"),
    ({"type": "system", "group": 'disconnect { stop_on_client_after = "1m" }'},
     f"{G} > disconnect > stop_on_client_after", "service and batch"),
    ({"group": "ephemeral_disk { size = 9 }"}, f"{G} > ephemeral_disk > size", "10 MB"),
    ({"group": 'shutdown_delay = "-1s"'}, f"{G} > shutdown_delay", "negative"),
    ({"group": 'max_run_duration = "1h"'}, f"{G} > max_run_duration", "batch"),
    ({"type": "batch", "group": 'max_run_duration = "0s"'}, f"{G} > max_run_duration", "above 0"),
    ({"group": "scaling {\n min = 3\n max = 2\n}"}, f"{G} > scaling > max", "below min"),
    ({"group": "count = 9\nscaling {\n min = 1\n max = 5\n}"}, f"{G} > scaling", "outside"),
    ({"type": "system", "group": "scaling { max = 5 }"}, f"{G} > scaling", "cannot be scaled"),
    # networks and volumes
    ({"group": "network {}\nnetwork {}"}, f"{G} > network", "at most one"),
    ({"group": 'network { mode = "bridged" }'}, f"{G} > network > mode", 'did you mean "bridge"'),
    ({"group": 'network {\n port "a b" {}\n}'}, f'{G} > network > port "a b"', "letters"),
    ({"group": 'network {\n port "a" { static = 70000 }\n}'}, f'{G} > network > port "a" > static', "65535"),
    ({"group": 'network {\n port "a" { static = -5 }\n}'}, f'{G} > network > port "a" > static', "65535"),
    ({"group": 'network {\n port "a" { to = 70000 }\n}'}, f'{G} > network > port "a" > to', "65535"),
    ({"group": 'network {\n port "a" { static = 80 }\n port "b" { static = 80 }\n}'},
     f'{G} > network > port "b" > static', 'already asked for by "a"'),
    ({"group": 'network {\n mode = "bridge"\n port "a" {\n static = 80\n ignore_collision = true\n }\n}'},
     f'{G} > network > port "a" > ignore_collision', "host only"),
    ({"group": 'volume "v" {\n type = "nfs"\n source = "x"\n}'}, f'{G} > volume "v" > type', "host"),
    ({"group": 'volume "v" { type = "host" }'}, f'{G} > volume "v"', "source"),
    ({"group": 'volume "v" {\n type = "csi"\n source = "x"\n attachment_mode = "file-system"\n}'},
     f'{G} > volume "v"', "access_mode"),
    ({"group": 'volume "v" {\n type = "csi"\n source = "x"\n access_mode = "single-node-writer"\n}'},
     f'{G} > volume "v"', "attachment_mode"),
    ({"group": 'volume "v" {\n type = "host"\n source = "x"\n per_alloc = true\n sticky = true\n}'},
     f'{G} > volume "v"', "exclude"),
    ({"task": 'volume_mount {\n volume = "dat"\n destination = "/d"\n}',
      "group": 'volume "data" {\n type = "host"\n source = "x"\n}'}, f"{T} > volume_mount", 'did you mean "data"'),
    ({"task": 'volume_mount { volume = "v" }', "group": 'volume "v" {\n type = "host"\n source = "x"\n}'},
     f"{T} > volume_mount", "destination"),
    ({"task": 'volume_mount {\n volume = "v"\n destination = "/d"\n propagation_mode = "shared"\n}',
      "group": 'volume "v" {\n type = "host"\n source = "x"\n}'}, f"{T} > volume_mount > propagation_mode", "private"),
    ({"group": "network { mbits = -1 }"}, f"{G} > network > mbits", "negative"),
    ({"group": 'volume "v" {\n type = "csi"\n source = "x"\n sticky = true\n}'}, f'{G} > volume "v" > sticky', "host"),
    ({"group": 'volume "v" {\n type = "host"\n source = "${meta.a}"\n per_alloc = true\n}'},
     f'{G} > volume "v" > source', "plain source"),
    ({"group": 'update { canary = 1 }\nvolume "v" {\n type = "host"\n source = "x"\n per_alloc = true\n}'},
     f"{G} > update > canary", "per_alloc"),
    ({"group": "ephemeral_disk { size = 9999999999 }"}, f"{G} > ephemeral_disk > size", "no machine"),
    # the task
    ({"driver": "dokcer"}, f"{T} > driver", 'did you mean "docker"'),
    ({"config": ""}, f"{T} > config", '"command"'),
    ({"config": 'config { command = " " }'}, f"{T} > config", '"command"'),
    ({"driver": "exec", "config": "config {}"}, f"{T} > config", '"command"'),
    ({"driver": "docker", "config": "config {}"}, f"{T} > config", '"image"'),
    ({"driver": "java", "config": "config {}"}, f"{T} > config", '"jar_path"'),
    ({"driver": "qemu", "config": "config {}"}, f"{T} > config", '"image_path"'),
    ({"config": 'config {\n command = "x"\n arg = ["y"]\n}'}, f"{T} > config > arg", 'did you mean "args"'),
    ({"config": 'config {\n command = "x"\n args = "y"\n}'}, f"{T} > config > args", "list of texts"),
    ({"driver": "docker", "config": 'config {\n image = "x:1"\n privileged = "maybe"\n}'},
     f"{T} > config > privileged", "true or false"),
    ({"driver": "docker", "config": 'config {\n image = "x:1"\n labels = ["a"]\n}'}, f"{T} > config > labels", "map"),
    ({"task": "resources { cpu = 0 }"}, f"{T} > resources > cpu", "at least 1"),
    ({"task": "resources { cpu = -5 }"}, f"{T} > resources > cpu", "at least 1"),
    ({"task": "resources { cpu = 999999999 }"}, f"{T} > resources > cpu", "no machine"),
    ({"task": "resources { memory = 0 }"}, f"{T} > resources > memory", "at least 10"),
    ({"task": "resources { memory = 999999999 }"}, f"{T} > resources > memory", "no machine"),
    ({"task": "resources {\n memory = 100\n memory_max = 50\n}"}, f"{T} > resources > memory_max", "below memory"),
    ({"task": "resources { memory_max = 999999999 }"}, f"{T} > resources > memory_max", "no machine"),
    ({"task": "resources {\n cpu = 100\n cores = 1\n}"}, f"{T} > resources", "exclude"),
    ({"task": "resources { cores = -1 }"}, f"{T} > resources > cores", "4096"),
    ({"task": 'resources {\n device "a/b/c/d" {}\n}'}, f'{T} > resources > device "a/b/c/d"', "vendor"),
    ({"task": 'resources {\n device "gpu" { count = 0 }\n}'}, f'{T} > resources > device "gpu" > count', "1 to"),
    ({"task": 'resources {\n numa { affinity = "some" }\n}'}, f"{T} > resources > numa > affinity", "require"),
    ({"task": "logs { max_files = 0 }"}, f"{T} > logs > max_files", "one file"),
    ({"task": "logs { max_file_size = 0 }"}, f"{T} > logs > max_file_size", "1 MB"),
    ({"task": "logs { max_files = 30 }"}, f"{T} > logs", "do not fit"),
    ({"task": 'kill_timeout = "-1s"'}, f"{T} > kill_timeout", "negative"),
    ({"task": 'kill_signal = "please stop"'}, f"{T} > kill_signal", "SIGTERM"),
    ({"task": 'shutdown_delay = "-1s"'}, f"{T} > shutdown_delay", "negative"),
    ({"task": 'lifecycle { hook = "before" }',
      "group": 'task "u" {\n driver = "raw_exec"\n config { command = "x" }\n}'},
     f"{T} > lifecycle > hook", "prestart"),
    ({"task": "lifecycle {}", "group": 'task "u" {\n driver = "raw_exec"\n config { command = "x" }\n}'},
     f"{T} > lifecycle", "hook"),
    ({"task": 'template { destination = "local/x" }'}, f"{T} > template", "one of the two"),
    ({"task": 'template {\n data = "x"\n source = "y"\n destination = "local/x"\n}'},
     f"{T} > template", "one of the two"),
    ({"task": 'template { data = "x" }'}, f"{T} > template", "destination"),
    ({"task": 'template {\n data = "x"\n destination = "../../x"\n}'}, f"{T} > template > destination", "outside"),
    ({"task": 'template {\n data = "x"\n destination = "local/x"\n change_mode = "reload"\n}'},
     f"{T} > template > change_mode", "noop"),
    ({"task": 'template {\n data = "x"\n destination = "local/x"\n change_mode = "script"\n}'},
     f"{T} > template", "change_script"),
    ({"task": 'template {\n data = "x"\n destination = "local/x"\n change_mode = "signal"\n env = true\n}'},
     f"{T} > template", "another mode"),
    ({"task": 'template {\n data = "x"\n destination = "local/x"\n perms = "rw"\n}'},
     f"{T} > template > perms", "0644"),
    ({"task": 'template {\n data = "x"\n destination = "local/x"\n splay = "-1s"\n}'},
     f"{T} > template > splay", "negative"),
    ({"task": 'template {\n data = "x"\n destination = "local/x"\n wait {\n min = "9s"\n max = "1s"\n }\n}'},
     f"{T} > template > wait", "longer than max"),
    ({"task": 'template {\n data = "x"\n destination = "a"\n}\ntemplate {\n data = "y"\n destination = "a"\n}'},
     f"{T} > template[2] > destination", "already writes"),
    ({"task": "artifact {}"}, f"{T} > artifact", "source"),
    ({"task": 'artifact {\n source = "https://x/y"\n destination = "local/../../../etc"\n}'},
     f"{T} > artifact > destination", "outside"),
    ({"task": 'artifact {\n source = "https://x/y"\n mode = "tree"\n}'}, f"{T} > artifact > mode", "any"),
    ({"task": 'artifact {\n source = "https://x/y"\n options { checksum = "123" }\n}'},
     f"{T} > artifact > options > checksum", "sha256"),
    ({"task": 'artifact {\n source = "https://x/y"\n options { checksum = "sha25:12" }\n}'},
     f"{T} > artifact > options > checksum", 'did you mean "sha256"'),
    ({"task": 'artifact {\n source = "https://x/y"\n options { checksum = "md5:123445555555555" }\n}'},
     f"{T} > artifact > options > checksum", "32 hexadecimal digits; this has 15"),
    ({"task": 'identity {\n name = "a"\n filepath = "x"\n}'}, f'{T} > identity "a" > filepath', "file = true"),
    ({"task": 'identity {\n name = "a"\n file = true\n filepath = "../x"\n}'},
     f'{T} > identity "a" > filepath', "outside"),
    ({"task": 'identity { ttl = "1h" }'}, f'{T} > identity "default" > ttl', "no ttl"),
    ({"task": 'identity {\n name = "a"\n change_mode = "reload"\n}'}, f'{T} > identity "a" > change_mode', "restart"),
    ({"task": 'identity { name = "a" }\nidentity { name = "a" }'}, f'{T} > identity "a"', "more than one"),
    ({"task": 'dispatch_payload { file = "x" }'}, f"{T} > dispatch_payload", "parameterized"),
    ({"type": "batch", "job": "parameterized {}", "task": 'dispatch_payload { file = "../x" }'},
     f"{T} > dispatch_payload", "below"),
    ({"type": "batch", "job": "parameterized {}", "task": 'dispatch_payload { file = "/etc/x" }'},
     f"{T} > dispatch_payload", "absolute"),
    ({"task": 'env { A = "x\\u0000y" }'}, f"{T} > env", "NUL"),
    ({"task": 'meta { a = "x\\u0000y" }'}, f"{T} > meta", "NUL"),
    ({"group": 'meta { a = "x\\u0000y" }'}, f"{G} > meta", "NUL"),
    ({"job": 'meta { a = "x\\u0000y" }'}, "meta", "NUL"),
    ({"job": 'constraint {\n attribute = "${meta.a}"\n value = ""\n}'}, "constraint", "needs a value"),
    ({"job": 'affinity {\n attribute = "${meta.a}"\n operator = ">"\n}'}, "affinity", "needs a value"),
    ({"group": 'scaling {\n max = 3\n type = "bogus"\n}'}, f"{G} > scaling > type", "horizontal"),
    ({"task": 'action "a b" { command = "x" }'}, f'{T} > action "a b"', "no blanks"),
    ({"task": 'action "a" {}'}, f'{T} > action "a"', "command"),
    ({"task": 'secret "a-b" {\n provider = "nomad"\n path = "x"\n}'}, f'{T} > secret "a-b"', "underscores"),
    ({"task": 'secret "a" { path = "x" }'}, f'{T} > secret "a"', "provider"),
    ({"task": 'secret "a" { provider = "nomad" }'}, f'{T} > secret "a"', "path"),
    ({"task": 'env = { "A=B" = "1" }'}, f"{T} > env", "name of a variable"),
    # services
    ({"group": svc('name = "a_b"').replace(' name = "s"\n', "")}, f"{G} > service > name", "service name"),
    ({"group": 'service {\n name = "s"\n provider = "eureka"\n}'}, f"{G} > service > provider", "nomad"),
    ({"group": svc('address_mode = "hosts"')}, f"{G} > service > address_mode", 'did you mean "host"'),
    ({"group": svc('on_update = "x"')}, f"{G} > service > on_update", "require_healthy"),
    ({"group": 'service {\n name = "s"\n port = "web"\n provider = "nomad"\n}'}, f"{G} > service > port", "no ports"),
    ({"group": svc("connect { native = true }")}, f"{G} > service > connect", "consul"),
    ({"group": svc('task = "x"')}, f"{G} > service > task", "no task"),
    ({"group": check('on_update = "y"')}, f"{G} > service > check > on_update", "require_healthy"),
    ({"group": check("").replace('type = "http"', 'type = "script"')}, f"{G} > service > check > type", "http"),
    ({"group": check("").replace('"10s"', '"10ms"')}, f"{G} > service > check > interval", "1s"),
    ({"group": check("").replace('timeout = "2s"\n', "")}, f"{G} > service > check", "timeout"),
    ({"group": check("").replace(' path = "/"\n', "")}, f"{G} > service > check", "path"),
    ({"group": check("").replace(' port = "http"\n', "")}, f"{G} > service > check", "port"),
    ({"group": check('initial_status = "ok"')}, f"{G} > service > check > initial_status", "passing"),
    ({"group": check('protocol = "ftp"')}, f"{G} > service > check > protocol", "http"),
    ({"group": check("expose = true")}, f"{G} > service > check > expose", "no"),
    ({"group": check("success_before_passing = 2")}, f"{G} > service > check > success_before_passing", "no"),
    ({"group": check("check_restart { limit = -1 }")}, f"{G} > service > check > check_restart > limit", "neg"),
    ({"group": check('port = "x"')}, f"{G} > service > check > port", "no port"),
    ({"group": check("").replace('"nomad"', '"consul"').replace('type = "http"', 'type = "script"')},
     f"{G} > service > check", "command"),
    ({"group": check("").replace('type = "http"', "")}, f"{G} > service > check", "needs a type"),
    ({"group": check('address_mode = "driver"')}, f"{G} > service > check > address_mode", "driver addresses"),
    ({"group": check('on_update = "ignore_warnings"')}, f"{G} > service > check > on_update", "no warnings"),
    ({"group": check("check_restart { ignore_warnings = true }")},
     f"{G} > service > check > check_restart > ignore_warnings", "no warnings"),
    ({"group": check("").replace('"nomad"', '"consul"').replace('type = "http"', 'type = "script"\n task = "u"')},
     f"{G} > service > check > task", "no task"),
    ({"group": svc('port = "99999"').replace(' port = "http"\n', "")}, f"{G} > service > port", "65535"),
    ({"group": svc('address = "a.example"\n address_mode = "host"')}, f"{G} > service > address", "auto"),
    ({"group": svc("check_restart { limit = -1 }")}, f"{G} > service > check_restart > limit", "negative"),
]  # fmt: skip


def test_the_job_that_is_broken_below_is_valid_as_it_stands(problems: Check) -> None:
    assert problems() == []
    assert problems(type="batch") == []
    assert problems(type="system") == []
    assert problems(group=check("")) == []


@pytest.mark.parametrize(("parts", "path", "words"), RULES, ids=[f"{n}" for n in range(len(RULES))])
def test_a_mistake_is_named_where_it_is(problems: Check, parts: dict[str, str], path: str, words: str) -> None:
    found = problems(**parts)
    if not words:
        assert found == []
        return
    assert [each for each in found if each.path == path and words in each.text], found


def test_every_problem_is_told_at_once(problems: Check) -> None:
    found = problems(
        job="priority = 1000",
        group="count = -1\nrestart { attempts = -1 }",
        task="resources {\n cpu = 0\n memory = 0\n}",
        config="config {}",
    )
    assert {each.path for each in found} == {
        "priority",
        f"{G} > count",
        f"{G} > restart > attempts",
        f"{T} > restart > attempts",
        f"{T} > resources > cpu",
        f"{T} > resources > memory",
        f"{T} > config",
    } - {f"{T} > restart > attempts"}


def test_a_job_without_groups_and_a_group_without_tasks_are_refused() -> None:
    assert "at least one group" in validate(canonicalize({"ID": "j"}))[0].text
    found = validate(canonicalize({"ID": "j", "TaskGroups": [{"Name": "g"}]}))
    assert found == [Problem('group "g"', "a group needs at least one task")]


def test_two_groups_of_one_name_are_refused() -> None:
    task = {"Name": "t", "Driver": "raw_exec", "Config": {"command": "x"}}
    group = {"Name": "g", "Tasks": [task]}
    found = validate(canonicalize({"ID": "j", "TaskGroups": [group, group]}))
    assert 'more than one group "g"' in found[0].text


@pytest.mark.parametrize("name", ["", "alloc", "a/b", "a\\b", "a\0b", "a\nb", "..", "x" * 200])
def test_a_task_whose_name_cannot_be_a_directory_is_refused(name: str) -> None:
    task = {"Name": name, "Driver": "raw_exec", "Config": {"command": "x"}}
    found = validate(canonicalize({"ID": "j", "TaskGroups": [{"Name": "g", "Tasks": [task]}]}))
    assert len(found) == 1
    assert found[0].path.startswith('group "g" > task')


@pytest.mark.parametrize("identifier", ["a/b", "a/b/c", "dispatch-1", "größe", "a.b_c~d", "x" * 1024])
def test_ids_may_hold_slashes_and_letters_of_any_script(api_job: Callable[..., Any], identifier: str) -> None:
    assert validate(canonicalize(api_job(ID=identifier))) == []


@pytest.mark.parametrize("identifier", ["", " ", "a b", "a\0", "a\n", "a\x1b[31m", "x" * 1025])
def test_ids_that_break_lines_or_paths_are_refused(api_job: Callable[..., Any], identifier: str) -> None:
    assert (
        validate(canonicalize(api_job(ID=identifier, Name="n" if identifier == "" else identifier))) or not identifier
    )


def test_counts_of_all_groups_together_have_a_limit(api_job: Callable[..., Any]) -> None:
    task = {"Name": "t", "Driver": "raw_exec", "Config": {"command": "x"}}
    groups = [{"Name": name, "Count": 30_000, "Tasks": [task]} for name in "ab"]
    found = validate(canonicalize(api_job(TaskGroups=groups)))
    assert "60000" in found[0].text


def test_a_driver_that_a_plugin_brings_is_known_and_its_config_is_not_judged(make_job: Callable[..., Any]) -> None:
    job = make_job(driver="firecracker", config='config { kernel = "vmlinux" }')
    assert validate(job, drivers=["raw_exec", "firecracker"]) == []
    assert validate(job)


def test_a_command_line_in_one_text_is_accepted(problems: Check) -> None:
    assert problems(config='config { command = "my_service --arg1=test1 --arg2=test2" }') == []


def test_values_that_the_node_or_a_key_fills_in_are_not_judged(problems: Check) -> None:
    late = 'constraint {\n attribute = "${meta.a}"\n regexp = "${meta.pattern}("\n}'
    assert problems(job=late) == []
    assert problems(driver="docker", config='config {\n image = "{{ a/b }}"\n privileged = "${meta.p}"\n}') == []
    assert problems(task='artifact {\n source = "x"\n options { checksum = "{{ a/sum }}" }\n}') == []


def test_two_tasks_on_one_static_port_in_the_old_place_are_refused() -> None:
    def task(name: str) -> str:
        return (
            f'task "{name}" {{\n driver = "raw_exec"\n config {{ command = "x" }}\n'
            f'resources {{\n network {{\n port "p_{name}" {{ static = 8080 }}\n }}\n }}\n}}\n'
        )

    text = f'job "j" {{\n group "g" {{\n {task("a")} {task("b")} }}\n}}\n'
    found = validate(canonicalize(parse_job(text).api))
    assert any("8080 is already asked for" in each.text for each in found)


def test_a_port_on_two_host_networks_is_no_clash(problems: Check) -> None:
    two = 'network {\n port "a" { static = 80 }\n port "b" {\n static = 80\n host_network = "other"\n }\n}'
    assert problems(group=two) == []


def test_every_word_of_an_unknown_type_is_told_with_all_other_problems(api_job: Callable[..., Any]) -> None:
    from rove.errors import InvalidJobError

    with pytest.raises(InvalidJobError) as caught:
        canonicalize(decode_api_job(api_job(Type="servce", Priority=999)))
    assert 'did you mean "service"' in caught.value.problems[0]
    assert any("1 to 100" in each for each in caught.value.problems)


def test_names_that_are_missing_are_missed(api_job: Callable[..., Any]) -> None:
    assert validate(canonicalize(api_job(ID=""))) == [Problem("", "a job needs an id")]
    body = api_job()
    body["TaskGroups"][0]["Name"] = ""
    body["TaskGroups"][0]["Tasks"][0]["Driver"] = ""
    texts = [each.text for each in validate(canonicalize(body))]
    assert texts == ["a group needs a name", 'a task needs a "driver"']
    body["TaskGroups"][0]["Name"] = "a\nb"
    assert validate(canonicalize(body))[0].text == "a name may not hold a line break"


def test_payload_and_meta_have_a_limit(api_job: Callable[..., Any]) -> None:
    job = canonicalize(api_job(Payload="A" * 40_000, Meta={"a": "x" * 2_000_000}))
    assert {each.path for each in validate(job)} == {"", "meta"}


def test_two_ports_of_one_name_are_refused_from_clients_too(api_job: Callable[..., Any]) -> None:
    body = api_job()
    body["TaskGroups"][0]["Networks"] = [{"DynamicPorts": [{"Label": "a"}, {"Label": "a"}]}]
    assert "more than one port" in validate(canonicalize(body))[0].text


def test_ports_in_the_old_place_are_judged_beside_a_network_of_the_group(api_job: Callable[..., Any]) -> None:
    body = api_job()
    network = {"ReservedPorts": [{"Label": "a", "Value": 80}]}
    body["TaskGroups"][0]["Networks"] = [network]
    body["TaskGroups"][0]["Tasks"][0]["Resources"] = {"Networks": [network]}
    assert [each.path for each in validate(canonicalize(body))] == [f'{T} > resources > network > port "a" > static']


def test_thousands_of_problems_are_cut_short(api_job: Callable[..., Any]) -> None:
    task = {"Name": "t", "Driver": "nope"}
    groups = [{"Name": f"g{number}", "Tasks": [task]} for number in range(3000)]
    found = validate(canonicalize(api_job(TaskGroups=groups)))
    assert len(found) == 201
    assert found[-1].text == "there are more problems than these 200"
    many = [{"Name": f"t{number}", "Driver": "nope"} for number in range(3000)]
    assert len(validate(canonicalize(api_job(TaskGroups=[{"Name": "g", "Tasks": many}])))) == 201


def test_a_config_of_unknown_names_is_cut_short(api_job: Callable[..., Any]) -> None:
    body = api_job()
    body["TaskGroups"][0]["Tasks"][0]["Config"] = {f"option{number}": 1 for number in range(10_000)}
    assert len(validate(canonicalize(body))) == 20


def test_names_that_would_disturb_a_terminal_are_shown_as_dots(api_job: Callable[..., Any]) -> None:
    body = api_job(ID="a\x1b[31m", Type="service")
    body["TaskGroups"][0]["Name"] = "g\nx"
    body["TaskGroups"][0]["Tasks"][0]["Driver"] = "d\x1b[0m\n"
    found = validate(canonicalize(body))
    assert len(found) == 3
    assert all(str(each).isprintable() for each in found)
