"""Where the API is and who asks: address, region, namespace, token and TLS files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rove.errors import BadRequestError

DEFAULT_ADDRESS = "http://127.0.0.1:4646"
DEFAULT_TIMEOUT_S = 60.0
"""How long a call that does not wait for a change may take."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a client needs to know. `token` and `http_auth` never appear in the repr.

    address: ``http://host:port``, ``https://host:port`` or ``unix:///path/to/socket``.
    """

    address: str = DEFAULT_ADDRESS
    region: str = ""
    namespace: str = ""
    token: str = field(default="", repr=False)
    http_auth: str = field(default="", repr=False)
    ca_cert: str = ""
    ca_path: str = ""
    client_cert: str = ""
    client_key: str = ""
    tls_server_name: str = ""
    tls_skip_verify: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> Settings:
        """Read ``ROVE_*`` first, then Nomad's ``NOMAD_*``. An empty variable counts as absent."""

        def get(*names: str) -> str:
            candidates = (environ.get(f"{prefix}_{name}", "") for name in names for prefix in ("ROVE", "NOMAD"))
            return next((value for value in candidates if value), "")

        return Settings(
            address=get("ADDR", "ADDRESS") or DEFAULT_ADDRESS,
            region=get("REGION"),
            namespace=get("NAMESPACE"),
            token=get("TOKEN"),
            http_auth=get("HTTP_AUTH"),
            ca_cert=get("CACERT"),
            ca_path=get("CAPATH"),
            client_cert=get("CLIENT_CERT"),
            client_key=get("CLIENT_KEY"),
            tls_server_name=get("TLS_SERVER_NAME"),
            tls_skip_verify=is_true(get("SKIP_VERIFY")),
        )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address taken apart. `socket_path` is set for ``unix://`` only."""

    secure: bool
    host: str
    port: int
    base_path: str = ""
    socket_path: str = ""


def parse_address(address: str) -> Endpoint:
    """Take an address apart.

    A missing scheme means http, a missing port the scheme's own, 4646 where there is no scheme either.
    Raises BadRequestError when the address cannot be one.
    """
    from urllib.parse import urlsplit

    if address.startswith("unix://"):
        path = address.removeprefix("unix://")
        if not path.startswith("/"):
            raise _bad_address(address, "the socket's path must be absolute")
        return Endpoint(secure=False, host="localhost", port=0, socket_path=path)
    has_scheme = "://" in address
    try:
        parts = urlsplit(address if has_scheme else f"http://{address}")
        port = parts.port
    except ValueError as error:
        raise _bad_address(address, str(error)) from None
    if parts.scheme not in ("http", "https"):
        raise _bad_address(address, f'"{parts.scheme}" is not a scheme the API speaks')
    if not parts.hostname:
        raise _bad_address(address, "it names no host")
    secure = parts.scheme == "https"
    if port is None:
        port = (443 if secure else 80) if has_scheme else 4646
    return Endpoint(secure=secure, host=parts.hostname, port=port, base_path=parts.path.rstrip("/"))


def is_true(text: str) -> bool:
    """Whether a text means yes, by the rules Go's flags follow."""
    return text in ("1", "t", "T", "true", "TRUE", "True")


def _bad_address(address: str, why: str) -> BadRequestError:
    return BadRequestError(
        "client.bad_address", f"the address {address!r} cannot be used", why,
        "write it as http://host:4646, https://host:4646 or unix:///path/to/socket",
    )  # fmt: skip
