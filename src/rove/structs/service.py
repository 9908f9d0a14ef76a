"""Services as they are registered: one instance that others can reach."""

from __future__ import annotations

from enum import StrEnum

from .base import Noun


class ServiceHealth(StrEnum):
    """How an instance stands by its checks. One without checks is passing."""

    PASSING = "passing"
    PENDING = "pending"
    """It has checks, and they have not all passed yet."""
    CRITICAL = "critical"


class ServiceRegistration(Noun, frozen=True, kw_only=True):
    """One instance of a service.

    A node says what it offers; namespace, node, datacenter and job are filled in by the server. health: "" in a
    node's message keeps what the server knows.
    """

    id: str
    service_name: str
    namespace: str = ""
    node_id: str = ""
    datacenter: str = ""
    job_id: str = ""
    alloc_id: str = ""
    tags: tuple[str, ...] = ()
    address: str = ""
    port: int = 0
    meta: dict[str, str] = {}
    health: str = ServiceHealth.PASSING
    create_index: int = 0
    modify_index: int = 0

    @property
    def is_offered(self) -> bool:
        """True if discovery hands it out."""
        return self.health == ServiceHealth.PASSING
