"""How nouns become engine rows: which table, which key. Keys rise: create index first, then the id."""

from __future__ import annotations

import msgspec

from rove.engine import Change
from rove.errors import BadRequestError
from rove.structs.deployment import Deployment
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job, JobScalingEvents, JobSubmission, PeriodicLaunch
from rove.structs.node import Namespace, Node, NodePool, SchedulerConfiguration
from rove.structs.plan import AllocBlock
from rove.structs.service import ServiceRegistration

from .blocks import AllocChange
from .tables import Document, JobHead, KeptCounts

ENCODER = msgspec.msgpack.Encoder()

TYPES: dict[str, type[msgspec.Struct]] = {
    "nodes": Node,
    "specs": Job,
    "jobs": JobHead,
    "submissions": JobSubmission,
    "counts": KeptCounts,
    "evaluations": Evaluation,
    "deployments": Deployment,
    "blocks": AllocBlock,
    "allocs": AllocChange,
    "pools": NodePool,
    "namespaces": Namespace,
    "scaling": JobScalingEvents,
    "launches": PeriodicLaunch,
    "services": ServiceRegistration,
    "documents": Document,
    "configuration": SchedulerConfiguration,
}
"""Row type by table."""

DECODERS = {table: msgspec.msgpack.Decoder(kind) for table, kind in TYPES.items()}


def key(index: int, *names: str) -> bytes:
    """A row key: the index of creation, then what tells rows of one index apart."""
    return index.to_bytes(8, "big") + "\0".join(names).encode()


def spec_key(namespace: str, job_id: str, create_index: int, version: int) -> bytes:
    """The key of a job version."""
    return create_index.to_bytes(8, "big") + version.to_bytes(8, "big") + f"{namespace}\0{job_id}".encode()


def encode(rows: dict[tuple[str, bytes], msgspec.Struct | None]) -> list[Change]:
    """Rows as engine changes. Raises `BadRequestError` for values that no row can hold."""
    try:
        return [
            Change(table, row_key, None if value is None else ENCODER.encode(value))
            for (table, row_key), value in rows.items()
        ]
    except (RecursionError, OverflowError) as error:
        raise BadRequestError(
            "state.value", "nothing was stored", f"a value cannot be stored: {error}",
            "send numbers of 64 bits, and values that are not nested as deeply",
        ) from None  # fmt: skip
