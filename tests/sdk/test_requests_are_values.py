from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rove
from rove.errors import BadRequestError, ConflictError, ForbiddenError, NotFoundError, RoveError, TooLargeError
from rove.sdk.frames import FrameReader
from rove.sdk.request import Reply, error_of, headers_of, reply_of, request
from rove.sdk.settings import Endpoint, Settings, parse_address


def test_ids_are_encoded_and_empty_parameters_left_out() -> None:
    made = request("GET", "job", "a/b c?", params={"x": None, "y": "", "z": False, "t": True, "n": 0, "l": ["1", "2"]})
    assert made.target(Settings()) == "/v1/job/a%2Fb%20c%3F?t=true&n=0&l=1&l=2"


def test_region_and_namespace_come_from_the_settings_unless_named() -> None:
    settings = Settings(region="eu", namespace="prod")
    assert request("GET", "jobs").target(settings) == "/v1/jobs?region=eu&namespace=prod"
    assert request("GET", "jobs", options={"namespace": "*"}).target(settings) == "/v1/jobs?namespace=%2A&region=eu"


def test_a_blocking_call_may_take_longer() -> None:
    assert request("GET", "jobs").wait_s == 0
    assert request("GET", "jobs", options={"index": 5}).wait_s == 300
    made = request("GET", "jobs", options={"index": 5, "wait_s": 1.5})
    assert made.wait_s == 1.5
    assert "wait=1500ms" in made.target(Settings())


def test_a_secret_is_in_no_repr() -> None:
    assert "s3cret" not in repr(Settings(token="s3cret", http_auth="u:s3cret"))


def test_the_token_and_basic_authentication_are_headers() -> None:
    headers = headers_of(Settings(token="t", http_auth="user:pass"), request("PUT", "jobs", body={}))
    assert headers["X-Nomad-Token"] == "t"
    assert headers["Authorization"] == "Basic dXNlcjpwYXNz"
    assert headers["Content-Type"] == "application/json"


ADDRESSES = [
    ("http://h", Endpoint(False, "h", 80)),
    ("h", Endpoint(False, "h", 4646)),
    ("h:1", Endpoint(False, "h", 1)),
    ("https://h", Endpoint(True, "h", 443)),
    ("http://[::1]:4646/base/", Endpoint(False, "::1", 4646, "/base")),
    ("unix:///run/rove.sock", Endpoint(False, "localhost", 0, "", "/run/rove.sock")),
]


@pytest.mark.parametrize(("address", "endpoint"), ADDRESSES)
def test_an_address_is_taken_apart(address: str, endpoint: Endpoint) -> None:
    assert parse_address(address) == endpoint


@pytest.mark.parametrize("address", ["", "ftp://h", "http://", "unix://x", "http://h:99999"])
def test_a_wrong_address_is_refused(address: str) -> None:
    with pytest.raises(BadRequestError):
        parse_address(address)


def test_our_variables_win_over_nomads_and_empty_ones_do_not_count() -> None:
    environ = {"NOMAD_ADDR": "http://theirs", "ROVE_ADDR": "", "ROVE_TOKEN": "ours", "NOMAD_TOKEN": "theirs"}
    settings = Settings.from_env({**environ, "NOMAD_SKIP_VERIFY": "true"})
    assert settings.address == "http://theirs"
    assert settings.token == "ours"
    assert settings.tls_skip_verify


def test_an_answer_carries_its_index() -> None:
    headers = {"X-Nomad-Index": "12", "X-Nomad-NextToken": "next", "X-Nomad-KnownLeader": "false"}
    reply = reply_of(request("GET", "jobs"), 200, headers, b"[1]")
    assert reply == Reply([1], 200, 12, "next", False)


@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_an_empty_body_is_none(body: bytes) -> None:
    assert reply_of(request("PUT", "system", "gc"), 200, {}, body).value is None


KINDS = [
    (400, BadRequestError),
    (403, ForbiddenError),
    (404, NotFoundError),
    (409, ConflictError),
    (413, TooLargeError),
]


@pytest.mark.parametrize(("status", "kind"), [*KINDS, (500, RoveError), (301, RoveError), (599, RoveError)])
def test_a_status_is_an_error_of_its_kind(status: int, kind: type[RoveError]) -> None:
    with pytest.raises(kind) as caught:
        reply_of(request("GET", "jobs"), status, {}, b"it did not work\nbecause")
    assert caught.value.status == status
    assert caught.value.what == "it did not work"
    assert caught.value.why == "because"


LINES = st.text(st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1).map(str.strip).filter(bool)


@given(what=LINES.filter(lambda text: not text.endswith("]")), why=st.lists(LINES, min_size=1, max_size=3), fix=LINES)
def test_an_error_survives_its_way_as_text(what: str, why: list[str], fix: str) -> None:
    sent = RoveError("job.odd_thing", what, "\n".join(why), fix)
    found = error_of(500, sent.text())
    assert (found.code, found.what, found.why, found.fix) == (sent.code, what, "\n".join(why), fix)


FRAMES = st.lists(
    st.dictionaries(st.sampled_from(["Data", "File", "Offset"]), st.text() | st.integers(), max_size=3), max_size=6
)


@given(frames=FRAMES, gap=st.sampled_from(["", "\n", " {}\n"]), cuts=st.lists(st.integers(0, 400)))
def test_frames_are_found_however_the_bytes_arrive(frames: list[dict[str, object]], gap: str, cuts: list[int]) -> None:
    data = "".join(json.dumps(frame, ensure_ascii=False) + gap for frame in frames).encode()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader = FrameReader()
    found = [f for start, end in pairwise(edges) for f in reader.feed(data[start:end])]
    assert found == [frame for frame in frames if frame]


def test_both_clients_have_the_same_resources() -> None:
    blocking = rove.Client("http://127.0.0.1:1")
    resources = {name for name in vars(blocking) if not name.startswith("_")}
    assert resources == {name for name in vars(rove.AsyncClient("http://127.0.0.1:1")) if not name.startswith("_")}


def test_the_package_names_nothing_else() -> None:
    with pytest.raises(AttributeError):
        rove.NoSuchThing  # noqa: B018
