"""Artifacts over http, git and file: what arrives, and what is refused with nothing left behind."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from rove.client.artifacts import ArtifactError, Limits, fetch_artifact
from rove.structs.job import Artifact

PROGRAM = b"#!/bin/sh\necho hello\n"


class Place:
    """An allocation's directory, and an artifact server in front of it."""

    def __init__(self, root: Path) -> None:
        self.alloc_dir = root / "alloc"
        self.task_dir = self.alloc_dir / "web"
        self.task_dir.mkdir(parents=True)
        self.staging = root / "staging"
        self.files: dict[str, bytes] = {}
        self.requests: list[web.Request] = []
        self.base = ""

    async def fetch(self, path: str, *, limits: Limits | None = None, **fields: object) -> None:
        source = path if path.startswith(("http", "git", "file")) else f"{self.base}/{path}"
        artifact = msgspec.structs.replace(Artifact(getter_source=source), **fields)
        await fetch_artifact(
            artifact, task_dir=self.task_dir, alloc_dir=self.alloc_dir, staging=self.staging, limits=limits
        )

    def left(self) -> list[str]:
        return sorted(str(p.relative_to(self.alloc_dir)) for p in self.alloc_dir.rglob("*") if not p.is_dir())


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path)

    async def serve(request: web.Request) -> web.StreamResponse:
        made.requests.append(request)
        name = request.path.lstrip("/")
        if name == "redirect":
            raise web.HTTPFound(request.query.get("to", "/redirect"))
        if name == "endless":
            answer = web.StreamResponse()
            await answer.prepare(request)
            while True:
                await answer.write(b"x" * 65536)
        if name == "slow":
            answer = web.StreamResponse()
            await answer.prepare(request)
            await answer.write(b"x")
            await asyncio.Event().wait()
        if name == "cut":
            answer = web.StreamResponse(headers={"Content-Length": "1000"})
            await answer.prepare(request)
            await answer.write(b"x" * 10)
            request.transport.close()
            return answer
        if name not in made.files:
            raise web.HTTPNotFound
        return web.Response(body=made.files[name])

    app = web.Application()
    app.router.add_get("/{name:.*}", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    made.base = f"http://127.0.0.1:{port}"
    yield made
    await runner.cleanup()


def tar_of(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def member(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode = 0o755
    for key, value in fields.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
async def test_a_file_with_the_right_checksum_arrives_in_local(place: Place, algorithm: str) -> None:
    place.files["my_service"] = PROGRAM
    digest = hashlib.new(algorithm, PROGRAM).hexdigest()
    await place.fetch("my_service", getter_options={"checksum": f"{algorithm}:{digest}"})
    assert (place.task_dir / "local" / "my_service").read_bytes() == PROGRAM


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
async def test_a_wrong_checksum_leaves_nothing(place: Place, algorithm: str) -> None:
    place.files["my_service"] = PROGRAM
    digest = hashlib.new(algorithm, b"something else").hexdigest()
    with pytest.raises(ArtifactError, match="does not match") as caught:
        await place.fetch("my_service", getter_options={"checksum": f"{algorithm}:{digest}"})
    assert not caught.value.recoverable
    assert place.left() == []
    assert list(place.staging.iterdir()) == []


async def test_options_may_stand_in_the_url(place: Place) -> None:
    place.files["a.tar.gz"] = tar_of((member("x"), b"1"))
    digest = hashlib.sha256(place.files["a.tar.gz"]).hexdigest()
    await place.fetch(f"a.tar.gz?checksum=sha256:{digest}&archive=false&keep=1")
    assert place.left() == ["web/local/a.tar.gz"]
    assert place.requests[0].query_string == "keep=1"


async def test_mode_file_names_the_file(place: Place) -> None:
    place.files["my_service"] = PROGRAM
    await place.fetch("my_service", getter_mode="file", relative_dest="local/bin/server")
    assert place.left() == ["web/local/bin/server"]


async def test_mode_file_unpacks_a_single_compressed_file(place: Place) -> None:
    place.files["tool.gz"] = gzip.compress(PROGRAM)
    await place.fetch("tool.gz", getter_mode="file", relative_dest="local/tool")
    assert (place.task_dir / "local/tool").read_bytes() == PROGRAM


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.tar", "w:"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar.bz2", "w:bz2"), ("a.tar.xz", "w:xz")],
)
async def test_tar_archives_are_unpacked(place: Place, name: str, mode: str) -> None:
    place.files[name] = tar_of(
        (member("bin/server"), PROGRAM),
        (member("bin/link", type=tarfile.SYMTYPE, linkname="server"), b""),
        (member("bin/hard", type=tarfile.LNKTYPE, linkname="bin/server"), b""),
        mode=mode,
    )
    await place.fetch(name)
    assert place.left() == ["web/local/bin/hard", "web/local/bin/link", "web/local/bin/server"]
    assert os.access(place.task_dir / "local/bin/server", os.X_OK)
    assert os.readlink(place.task_dir / "local/bin/link") == "server"
    assert (place.task_dir / "local/bin/hard").read_bytes() == PROGRAM


async def test_zip_archives_are_unpacked(place: Place) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a/b.txt", "text")
    place.files["a.zip"] = out.getvalue()
    await place.fetch("a.zip")
    assert place.left() == ["web/local/a/b.txt"]


async def test_a_setuid_bit_does_not_survive(place: Place) -> None:
    place.files["a.tar"] = tar_of((member("x", mode=0o6755), b"1"), mode="w:")
    await place.fetch("a.tar")
    assert (place.task_dir / "local/x").stat().st_mode & 0o7000 == 0


def chained_links() -> bytes:
    """Each link alone stays inside by its text; together they climb out."""
    return tar_of(
        (member("p/a", type=tarfile.SYMTYPE, linkname=".."), b""),
        (member("p/b", type=tarfile.SYMTYPE, linkname="a/../../../../../../etc"), b""),
        mode="w:gz",
    )


HOSTILE = {
    "dot-dot": tar_of((member("../evil"), b"x")),
    "absolute": tar_of((member("/tmp/evil-rove"), b"x")),
    "link out": tar_of((member("l", type=tarfile.SYMTYPE, linkname="../../../../etc"), b"")),
    "absolute link": tar_of((member("l", type=tarfile.SYMTYPE, linkname="/etc"), b"")),
    "through a link": tar_of((member("l", type=tarfile.SYMTYPE, linkname="../.."), b""), (member("l/evil"), b"x")),
    "link chain": chained_links(),
    "hard link out": tar_of((member("h", type=tarfile.LNKTYPE, linkname="../../../../etc/passwd"), b"")),
    "hard link absolute": tar_of((member("h", type=tarfile.LNKTYPE, linkname="/etc/passwd"), b"")),
    "device": tar_of((member("d", type=tarfile.CHRTYPE, devmajor=1, devminor=3), b"")),
    "pipe": tar_of((member("d", type=tarfile.FIFOTYPE), b"")),
    "not an archive": b"this is not gzip",
    "cut short": tar_of((member("x"), os.urandom(100_000)))[:5000],
    "no tar inside": gzip.compress(b"x" * 5000),
    "long name": tar_of((member("n" * 300), b"x")),
    "deep name": tar_of((member("d/" * 100 + "x"), b"x")),
}


@pytest.mark.parametrize("attack", sorted(HOSTILE))
async def test_a_hostile_archive_is_refused_and_leaves_nothing(place: Place, attack: str) -> None:
    place.files["a.tar.gz"] = HOSTILE[attack]
    with pytest.raises(ArtifactError, match="refused"):
        await place.fetch("a.tar.gz")
    assert place.left() == []
    assert not Path("/tmp/evil-rove").exists()
    assert not (place.alloc_dir.parent / "evil").exists()


async def test_a_bomb_is_refused(place: Place) -> None:
    place.files["a.tar.gz"] = tar_of((member("zeros"), bytes(40 * 1024 * 1024)))
    with pytest.raises(ArtifactError, match="too large|more than it may"):
        await place.fetch("a.tar.gz", limits=Limits(unpacked_bytes_max=1024 * 1024))
    assert place.left() == []


async def test_too_many_files_are_refused(place: Place) -> None:
    place.files["a.tar.gz"] = tar_of(*((member(f"f{i}"), b"") for i in range(20)))
    with pytest.raises(ArtifactError, match="too many files"):
        await place.fetch("a.tar.gz", limits=Limits(unpacked_files_max=10))


async def test_a_tar_header_cannot_take_the_memory(place: Place) -> None:
    huge = tarfile.TarInfo("x")
    huge.type = tarfile.GNUTYPE_LONGNAME
    huge.size = 8 * 1024**3
    place.files["a.tar"] = huge.tobuf() + bytes(4096)
    with pytest.raises(ArtifactError, match="refused"):
        await place.fetch("a.tar")


async def test_a_zip_that_climbs_out_is_refused(place: Place) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../../evil", "x")
    place.files["a.zip"] = out.getvalue()
    with pytest.raises(ArtifactError, match="refused"):
        await place.fetch("a.zip")
    assert place.left() == []


@pytest.mark.parametrize("destination", ["../../out", "local/../../../out", "/../../../etc"])
async def test_a_destination_outside_is_refused(place: Place, destination: str) -> None:
    place.files["f"] = b"x"
    with pytest.raises(ArtifactError, match="leads out"):
        await place.fetch("f", relative_dest=destination)


async def test_a_planted_link_is_not_followed(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (place.task_dir / "local").symlink_to(outside)
    place.files["f"] = b"x"
    with pytest.raises(ArtifactError, match="in the way"):
        await place.fetch("f")
    assert list(outside.iterdir()) == []


async def test_a_planted_link_at_the_file_is_replaced(place: Place, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (place.task_dir / "local").mkdir()
    (place.task_dir / "local" / "f").symlink_to(victim)
    place.files["f"] = b"x"
    await place.fetch("f")
    assert victim.read_text() == "precious"
    assert not (place.task_dir / "local" / "f").is_symlink()


async def test_a_missing_file_says_so(place: Place) -> None:
    with pytest.raises(ArtifactError, match="404"):
        await place.fetch("nothing")


async def test_an_endless_file_is_cut_off(place: Place) -> None:
    with pytest.raises(ArtifactError, match="too large"):
        await place.fetch("endless", limits=Limits(bytes_max=1024 * 1024))
    assert place.left() == []


async def test_a_slow_server_is_given_up(place: Place) -> None:
    with pytest.raises(ArtifactError, match="given up") as caught:
        await place.fetch("slow", limits=Limits(timeout_s=0.3))
    assert caught.value.recoverable
    assert list(place.staging.iterdir()) == []


async def test_a_truncated_answer_fails(place: Place) -> None:
    with pytest.raises(ArtifactError, match="failed") as caught:
        await place.fetch("cut")
    assert caught.value.recoverable
    assert place.left() == []


async def test_redirects_are_followed_but_not_to_files_or_for_ever(place: Place) -> None:
    place.files["f"] = b"x"
    await place.fetch("redirect?to=/f", getter_mode="file", relative_dest="local/f")
    assert place.left() == ["web/local/f"]
    with pytest.raises(ArtifactError, match="not http"):
        await place.fetch("redirect?to=file:///etc/passwd")
    with pytest.raises(ArtifactError, match="redirects"):
        await place.fetch("redirect")


async def test_headers_of_the_job_do_not_follow_to_another_host(place: Place) -> None:
    place.files["f"] = b"x"
    elsewhere = place.base.replace("127.0.0.1", "localhost")
    await place.fetch(f"redirect?to={elsewhere}/f", getter_headers={"X-Token": "secret"})
    assert [request.headers.get("X-Token") for request in place.requests] == ["secret", None]


async def test_passwords_are_not_in_errors(place: Place) -> None:
    url = place.base.replace("http://", "http://user:hunter2@") + "/nothing?token=hunter2"
    with pytest.raises(ArtifactError) as caught:
        await place.fetch(url)
    assert "hunter2" not in str(caught.value)


async def test_nobody_listens(place: Place) -> None:
    with pytest.raises(ArtifactError, match="cannot connect") as caught:
        await place.fetch("http://127.0.0.1:1/f")
    assert caught.value.recoverable


async def test_file_sources_stay_in_their_roots(place: Place, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "tool").write_bytes(PROGRAM)
    with pytest.raises(ArtifactError, match="refused"):
        await place.fetch(f"file://{shelf}/tool")
    await place.fetch(f"file://{shelf}/tool", limits=Limits(file_roots=(str(shelf),)))
    assert place.left() == ["web/local/tool"]
    (shelf / "out").symlink_to("/etc/passwd")
    with pytest.raises(ArtifactError, match="refused"):
        await place.fetch(f"file://{shelf}/out", limits=Limits(file_roots=(str(shelf),)))


@pytest.mark.parametrize("source", ["ftp://x/y", "s3::http://x/y", "", "git::file:///etc", "git::--upload-pack=evil"])
async def test_unknown_sources_are_refused(place: Place, source: str) -> None:
    with pytest.raises(ArtifactError):
        await fetch_artifact(
            Artifact(getter_source=source), task_dir=place.task_dir, alloc_dir=place.alloc_dir, staging=place.staging
        )


@pytest.fixture
async def repository(place: Place, tmp_path: Path) -> AsyncIterator[str]:
    """A git repository over http (git's own http-backend), with two commits and a tag."""
    work = tmp_path / "work"
    work.mkdir()
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]

    def git(*words: str) -> None:
        subprocess.run(["git", *identity, *words], cwd=work, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    (work / "conf").mkdir()
    (work / "conf" / "app.ini").write_text("one")
    git("add", ".")
    git("commit", "-qm", "one")
    git("tag", "v1")
    (work / "conf" / "app.ini").write_text("two")
    git("commit", "-qam", "two")
    bare = tmp_path / "repos" / "app.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True, capture_output=True)

    async def backend(request: web.Request) -> web.Response:
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(bare.parent),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": request.path,
            "REQUEST_METHOD": request.method,
            "QUERY_STRING": request.query_string,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        }
        process = await asyncio.create_subprocess_exec(
            "git", "http-backend", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment
        )
        out, _ = await process.communicate(await request.read())
        head, _, body = out.partition(b"\r\n\r\n")
        headers = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        return web.Response(status=status, headers=headers, body=body)

    app = web.Application()
    app.router.add_route("*", "/{name:.*}", backend)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"git::http://127.0.0.1:{runner.addresses[0][1]}/app.git"
    await runner.cleanup()


async def test_a_repository_is_cloned_at_its_ref(place: Place, repository: str) -> None:
    assert shutil.which("git")
    await place.fetch(repository, relative_dest="local/head")
    await place.fetch(repository, relative_dest="local/tag", getter_options={"ref": "v1"})
    await place.fetch(repository, relative_dest="local/shallow", getter_options={"ref": "main", "depth": "1"})
    texts = {
        name: (place.task_dir / "local" / name / "conf/app.ini").read_text() for name in ("head", "tag", "shallow")
    }
    assert texts == {"head": "two", "tag": "one", "shallow": "two"}


async def test_a_part_of_a_repository_is_taken(place: Place, repository: str) -> None:
    await place.fetch(f"{repository}//conf", relative_dest="local/conf")
    assert place.left() == ["web/local/conf/app.ini"]


async def test_an_unknown_ref_fails_with_a_reason(place: Place, repository: str) -> None:
    with pytest.raises(ArtifactError, match="failed"):
        await place.fetch(repository, getter_options={"ref": "nowhere"})
    with pytest.raises(ArtifactError, match="not understood"):
        await place.fetch(repository, getter_options={"ref": "--upload-pack=touch /tmp/evil"})
