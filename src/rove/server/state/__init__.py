"""The server's state: tables, versions, snapshots, indexes, events. See `Store` and `Snapshot`."""

from __future__ import annotations

from .events import EventBroker, EventBatch, Subscription
from .snapshot import Committed, Snapshot, WatchKey
from .store import Store
from .transactions import *  # noqa: F403
