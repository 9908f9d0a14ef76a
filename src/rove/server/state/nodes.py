"""Rules of nodes: registration that keeps what operators set, status, drain, events."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from rove.structs.base import SECOND, from_unix
from rove.structs.node import DrainMetadata, Eligibility, Node, NodeEvent, NodePool, NodeStatus, computed_class
from rove.structs.resources import Usage

from . import rows, settings
from .counting import usage_at
from .draft import Draft
from .postings import EMPTY
from .tables import OnNode
from .transactions import SetNodeDrain, SetNodeEligibility, SetNodeStatus

EVENTS_KEPT = 10
replace = msgspec.structs.replace


def put_node(draft: Draft, node: Node) -> None:
    """Store a registration."""
    old: Node | None = draft.nodes.get(node.id)
    if old is not None:
        node = replace(
            node, scheduling_eligibility=old.scheduling_eligibility, drain_strategy=old.drain_strategy,
            last_drain=old.last_drain, create_index=old.create_index,
            events=_events(old.events, (_event(draft, "node registered again"),) if _was_away(old) else ()),
        )  # fmt: skip
    else:
        node = replace(
            node, create_index=draft.index, events=_events((), (_event(draft, "node registered"), *node.events))
        )  # fmt: skip
    if old is None or old.status is not node.status:
        node = replace(node, status_updated_at=draft.now // SECOND)
    else:
        node = replace(node, status_updated_at=old.status_updated_at)
    node = replace(node, computed_class=computed_class(node))
    if node.node_pool not in settings.BUILT_IN_POOLS and node.node_pool not in draft.pools:
        settings.put_pool(draft, NodePool(name=node.node_pool))
    _store(draft, node)
    refresh_columns(draft, node, is_new=old is None)


def _was_away(node: Node) -> bool:
    return node.status in (NodeStatus.DOWN, NodeStatus.DISCONNECTED)


def refresh_columns(draft: Draft, node: Node, is_new: bool) -> None:
    """Bring a node's row of the fleet up to date; a new row starts with what its allocations take."""
    if not is_new:
        draft.fleet.put(node, Usage(), 0)
        return
    cpu = memory = disk = count = 0
    entry: OnNode | None = draft.on_node.get(node.id)
    for number in (EMPTY if entry is None else entry.live).numbers():
        block = draft.blocks.get(number)
        for position in block.positions_on(node.id):
            change = draft.change_of(block, position)
            if not change.is_client_terminal:
                usage = usage_at(block, position, change)
                cpu, memory, disk = cpu + usage.cpu, memory + usage.memory_mb, disk + usage.disk_mb
                count += 1
    draft.fleet.put(node, Usage(cpu=cpu, memory_mb=memory, disk_mb=disk), count)


def _store(draft: Draft, node: Node) -> None:
    node = replace(node, modify_index=draft.index)
    draft.nodes[node.id] = node
    draft.put_row("nodes", rows.key(node.create_index, node.id), node)
    draft.mark(("nodes",))
    draft.touched.add(("node", node.id))
    draft.events["Node", node.id] = draft.event_type


def _event(draft: Draft, message: str, subsystem: str = "Cluster") -> NodeEvent:
    return NodeEvent(message=message, subsystem=subsystem, timestamp=_now(draft), create_index=draft.index)


def _now(draft: Draft) -> datetime:
    return from_unix(draft.now / SECOND)


def _events(old: tuple[NodeEvent, ...], new: Iterable[NodeEvent]) -> tuple[NodeEvent, ...]:
    return (*old, *new)[-EVENTS_KEPT:]


def _stamped(draft: Draft, events: Iterable[NodeEvent | None]) -> list[NodeEvent]:
    stamped = []
    for event in events:
        if event is not None:
            at = event.timestamp if event.timestamp.year > 1 else _now(draft)
            stamped.append(replace(event, timestamp=at, create_index=draft.index))
    return stamped


def add_events(draft: Draft, node_id: str, events: Iterable[NodeEvent | None]) -> None:
    """Add events to a node's record."""
    node: Node | None = draft.nodes.get(node_id)
    if node is not None:
        _store(draft, replace(node, events=_events(node.events, _stamped(draft, events))))


def set_status(draft: Draft, transaction: SetNodeStatus) -> None:
    """Change whether a node is reachable."""
    node: Node | None = draft.nodes.get(transaction.node_id)
    if node is None:
        return
    node = replace(
        node, status=transaction.status, status_description=transaction.description,
        status_updated_at=draft.now // SECOND,
        events=_events(node.events, _stamped(draft, (transaction.event,))),
    )  # fmt: skip
    _store(draft, node)
    draft.fleet.set_ready(node)


def set_eligibility(draft: Draft, transaction: SetNodeEligibility) -> None:
    """Allow or forbid new allocations."""
    node: Node | None = draft.nodes.get(transaction.node_id)
    if node is None:
        return
    node = replace(
        node, scheduling_eligibility=transaction.eligibility,
        events=_events(node.events, _stamped(draft, (transaction.event,))),
    )  # fmt: skip
    _store(draft, node)
    draft.fleet.set_ready(node)


def set_drain(draft: Draft, transaction: SetNodeDrain) -> None:
    """Start, change or end a drain; a draining node is not eligible."""
    node: Node | None = draft.nodes.get(transaction.node_id)
    if node is None:
        return
    last = node.last_drain
    strategy = transaction.strategy
    eligibility = node.scheduling_eligibility
    if strategy is not None:
        started = strategy.started_at if strategy.started_at.year > 1 else _now(draft)
        strategy = replace(strategy, started_at=started)
        if node.drain_strategy is None or last is None:
            last = DrainMetadata(started_at=started)
        last = replace(last, status="draining", updated_at=_now(draft), meta=transaction.meta or last.meta)
        eligibility = Eligibility.INELIGIBLE
    else:
        if transaction.mark_eligible:
            eligibility = Eligibility.ELIGIBLE
        if node.drain_strategy is not None:
            status = "complete" if transaction.completed else "canceled"
            last = replace(
                last or DrainMetadata(started_at=node.drain_strategy.started_at), status=status,
                updated_at=_now(draft),
            )  # fmt: skip
            if transaction.meta:
                last = replace(last, meta=transaction.meta)
    node = replace(
        node, drain_strategy=strategy, scheduling_eligibility=eligibility, last_drain=last,
        events=_events(node.events, _stamped(draft, (transaction.event,))),
    )  # fmt: skip
    _store(draft, node)
    draft.fleet.set_ready(node)


def set_meta(draft: Draft, node_id: str, meta: dict[str, str]) -> None:
    """Replace a node's meta."""
    node: Node | None = draft.nodes.get(node_id)
    if node is None:
        return
    node = replace(node, meta=meta)
    node = replace(node, computed_class=computed_class(node))
    _store(draft, node)
    refresh_columns(draft, node, is_new=False)


def forget(draft: Draft, node_id: str) -> None:
    """Remove a node."""
    node: Node | None = draft.nodes.pop(node_id)
    if node is None:
        return
    draft.delete_row("nodes", rows.key(node.create_index, node_id))
    draft.fleet.remove(node_id)
    draft.mark(("nodes",))
    draft.touched.add(("node", node_id))
    draft.events["Node", node_id] = "NodeDeregistration"
