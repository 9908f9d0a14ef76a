"""What a machine is: attributes under Nomad's names, and what it has to give. One file a probe."""

from .compose import fingerprint

__all__ = ["fingerprint"]
