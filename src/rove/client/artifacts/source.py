"""What an artifact's source says: where it is, how it is checked, what happens to it. Pure.

The forms are those of Nomad's job files: plain URLs, ``git::URL``, ``git@host:path``, ``github.com/owner/name``,
a sub-folder after ``//``, and options either in the block or as query parameters.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import msgspec

from rove.structs.job import Artifact

from .errors import ArtifactError

HASH_LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
ARCHIVES = {
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".tar.bz2": "tar.bz2",
    ".tbz2": "tar.bz2",
    ".tar.xz": "tar.xz",
    ".txz": "tar.xz",
    ".tar": "tar",
    ".zip": "zip",
    ".gz": "gz",
    ".bz2": "bz2",
    ".xz": "xz",
}
ARCHIVE_NAMES = {name.removeprefix("."): kind for name, kind in ARCHIVES.items()}
OPTIONS = ("checksum", "archive", "ref", "depth", "sshkey", "filename")
SHORTCUTS = ("github.com/", "gitlab.com/", "bitbucket.org/")
UNSUPPORTED = ("s3", "gcs", "hg")
NO_ZSTD = (".tar.zst", ".tzst", ".zst")


class Checksum(msgspec.Struct, frozen=True):
    """algorithm: md5, sha1, sha256 or sha512; digest: lower-case hexadecimal."""

    algorithm: str
    digest: str


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """kind: http, git or file. archive: how to unpack, '' for not at all. subdir: only this part is wanted."""

    kind: str
    url: str
    name: str
    checksum: Checksum | None = None
    archive: str = ""
    subdir: str = ""
    ref: str = ""
    depth: int = 0
    ssh_key: str = ""
    mode: str = "any"

    @property
    def shown(self) -> str:
        """The URL for messages: without user, password and query."""
        return shown(self.url)


def shown(url: str) -> str:
    """A URL without its secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def parse_source(artifact: Artifact) -> Source:
    """Understand an artifact block whose strings are interpolated. Raises `ArtifactError`."""
    text = artifact.getter_source.strip()
    if not text:
        raise ArtifactError("artifact has no source", "`source` is empty")
    if any(ord(char) < 32 for char in text):
        raise ArtifactError("artifact source is not a URL", "it holds control characters")
    kind, url = _kind_and_url(text)
    url, subdir = _split_subdir(url)
    url, options = _split_options(url)
    options.update(artifact.getter_options)
    name = options.get("filename") or _name_of(url)
    archive = _archive_of(options.get("archive", ""), urlsplit(url).path)
    if artifact.getter_mode not in ("any", "file", "dir"):
        raise ArtifactError(f"artifact mode {artifact.getter_mode!r} is not known", "it is one of any, file, dir")
    return Source(
        kind=kind,
        url=url,
        name=name,
        subdir=subdir,
        mode=artifact.getter_mode,
        checksum=parse_checksum(options.get("checksum", "")),
        archive="" if kind == "git" else archive,
        ref=_ref_of(options.get("ref", "")),
        depth=_depth_of(options.get("depth", "")),
        ssh_key=options.get("sshkey", ""),
    )


def parse_checksum(text: str) -> Checksum | None:
    """``sha256:hex``, or hexadecimal digits whose number tells the algorithm. '' is None."""
    if not text:
        return None
    algorithm, colon, digest = text.partition(":")
    if not colon:
        by_length = {length: name for name, length in HASH_LENGTHS.items()}
        algorithm, digest = by_length.get(len(text), ""), text
    algorithm, digest = algorithm.lower(), digest.strip().lower()
    if algorithm not in HASH_LENGTHS:
        raise ArtifactError("artifact checksum is not understood", f"its type is one of {', '.join(HASH_LENGTHS)}")
    if len(digest) != HASH_LENGTHS[algorithm] or not re.fullmatch("[0-9a-f]+", digest):
        raise ArtifactError(
            "artifact checksum is not understood",
            f"{algorithm} has {HASH_LENGTHS[algorithm]} hexadecimal digits, not {len(digest)} characters",
        )
    return Checksum(algorithm, digest)


def _kind_and_url(text: str) -> tuple[str, str]:
    forced, separator, rest = text.partition("::")
    if separator and forced.isalnum():
        if forced in UNSUPPORTED:
            raise ArtifactError(f"artifacts over {forced} are not supported", "use http, https, git or file")
        if forced == "git":
            return "git", _git_url(rest)
        if forced in ("http", "https", "file"):
            text = rest
    if text.startswith(("git@", "ssh://", "git://")) or text.endswith(".git"):
        return "git", _git_url(text)
    if text.startswith(SHORTCUTS):
        return "git", _git_url(f"https://{text}")
    scheme = urlsplit(text).scheme.lower()
    if scheme in ("http", "https"):
        return "http", text
    if scheme == "file" or text.startswith(("/", "./")):
        return "file", text if scheme == "file" else f"file://{text}"
    if scheme in UNSUPPORTED:
        raise ArtifactError(f"artifacts over {scheme} are not supported", "use http, https, git or file")
    raise ArtifactError("artifact source is not understood", "it starts with http://, https://, git:: or file://")


def _git_url(text: str) -> str:
    scp_like = re.fullmatch(r"([A-Za-z0-9_.-]+)@([A-Za-z0-9_.-]+):(?!/)(.+)", text)
    if scp_like:
        return f"ssh://{scp_like[1]}@{scp_like[2]}/{scp_like[3]}"
    if text.startswith(SHORTCUTS):
        text = f"https://{text}"
    if urlsplit(text).scheme.lower() not in ("http", "https", "ssh", "git"):
        raise ArtifactError("git source is not understood", "it is an http, https, ssh or git URL")
    return text


def _split_subdir(url: str) -> tuple[str, str]:
    scheme, separator, rest = url.partition("://")
    base, _, query = rest.partition("?")
    head, double, subdir = base.partition("//")
    if not double or scheme == "file":
        return url, ""
    return f"{scheme}{separator}{head}{'?' + query if query else ''}", subdir.strip("/")


def _split_options(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return url, {}
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = {key: value for key, value in pairs if key in OPTIONS}
    if not options:
        return url, {}
    query = urlencode([(key, value) for key, value in pairs if key not in OPTIONS])
    return urlunsplit(parts._replace(query=query)), options


def _name_of(url: str) -> str:
    name = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
    return "artifact" if name in ("", ".", "..") or "\0" in name else name


def _archive_of(option: str, path: str) -> str:
    if option in ("false", "0"):
        return ""
    if option and option != "true":
        kind = ARCHIVE_NAMES.get(option)
        if kind is None:
            raise ArtifactError(
                f"archive type {option!r} is not known", f"it is false or one of {', '.join(ARCHIVE_NAMES)}"
            )
        return kind
    lower = path.lower()
    if lower.endswith(NO_ZSTD):
        raise ArtifactError("zstd archives are not supported", 'repack it, or fetch it as it is with archive = "false"')
    return next((kind for suffix, kind in ARCHIVES.items() if lower.endswith(suffix)), "")


def _ref_of(text: str) -> str:
    if text.startswith("-") or not re.fullmatch(r"[\w./@{}^~+-]*", text):
        raise ArtifactError("git ref is not understood", "it names a branch, a tag or a commit")
    return text


def _depth_of(text: str) -> int:
    if not text:
        return 0
    if not text.isdigit() or int(text) == 0:
        raise ArtifactError("git depth is not understood", "it is a number above 0")
    return int(text)
