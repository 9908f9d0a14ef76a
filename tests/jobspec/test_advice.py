"""Advice about jobs that are accepted: each line can appear, and does not without cause."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rove.jobspec import warnings
from rove.structs.job import Job

CHECKED = (
    'count = 2\nshutdown_delay = "1s"\nnetwork {\n port "http" {}\n}\nservice {\n name = "s"\n provider = "nomad"\n'
    ' port = "http"\n check {\n type = "tcp"\n interval = "5s"\n timeout = "1s"\n }\n}\n'
)


def test_a_careful_job_gets_no_advice(make_job: Callable[..., Job]) -> None:
    assert warnings(make_job(group=CHECKED)) == []
    assert warnings(make_job(type="batch")) == []


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"group": "count = 2"}, "without a health check"),
        ({"group": CHECKED.replace("count = 2", "count = 1")}, "count of 1 and no canary"),
        ({"group": CHECKED + "update { max_parallel = 3 }"}, "more than the count of 2"),
        ({"group": CHECKED + "update { canary = 3 }"}, "canary: 3 is more"),
        ({"group": CHECKED + "update { max_parallel = 0 }"}, "everything at once"),
        ({"group": CHECKED.replace('shutdown_delay = "1s"', "")}, "may still be sent"),
        ({"group": CHECKED + 'max_client_disconnect = "1h"'}, "use a disconnect block"),
        ({"group": CHECKED + 'stop_after_client_disconnect = "1h"'}, "use a disconnect block"),
        ({"group": CHECKED + "prevent_reschedule_on_lost = true"}, "use a disconnect block"),
        ({"group": CHECKED + "reschedule { attempts = 3 }"}, "while unlimited is true"),
        ({"group": CHECKED, "task": "resources { iops = 3 }"}, "no effect"),
        (
            {"group": CHECKED, "task": 'template {\n data = "x"\n destination = "x"\n vault_grace = "1s"\n}'},
            "no effect",
        ),
        ({"group": CHECKED, "driver": "docker", "config": 'config { image = "nginx" }'}, "latest"),
        ({"group": CHECKED, "driver": "docker", "config": 'config { image = "a:5000/nginx:latest" }'}, "latest"),
        ({"group": CHECKED, "task": 'artifact { source = "http://x/y" }'}, "without a checksum"),
        ({"group": CHECKED, "task": "resources { memory_max = -1 }"}, "starve"),
        ({"type": "sysbatch", "job": 'spread { attribute = "${meta.a}" }'}, "no effect on a sysbatch"),
        ({"group": CHECKED, "job": "multiregion {}"}, "registered on its own"),
    ],
)
def test_what_deserves_a_word_gets_one(make_job: Callable[..., Job], parts: dict[str, str], words: str) -> None:
    found = warnings(make_job(**parts))
    assert len(found) == 1, found
    assert words in found[0]


@pytest.mark.parametrize(
    "image", ["nginx:1.27", "a:5000/b/nginx:1", "nginx@sha256:ab", "web:{{ a/b }}", "${meta.image}"]
)
def test_an_image_with_a_version_needs_no_word(make_job: Callable[..., Job], image: str) -> None:
    assert warnings(make_job(group=CHECKED, driver="docker", config=f'config {{ image = "{image}" }}')) == []
