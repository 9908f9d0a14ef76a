"""Building the tables from engine rows: stored nouns first, then everything that is derived from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
from immutables import Map

from rove.engine import Change, Damage
from rove.structs.job import Job

from . import counting, jobs, rows, services
from .blocks import POSITIONS, AllocChange, Block
from .draft import Draft
from .nodes import refresh_columns
from .tables import Column, Tables

replace = msgspec.structs.replace

TABLE_MARKS = (
    "jobs",
    "allocs",
    "evals",
    "nodes",
    "deployments",
    "scheduler",
    "node_pools",
    "namespaces",
    "services",
    "scaling.policies",
)


def load(revision: int, loaded: Iterable[Change]) -> tuple[Tables, list[Damage]]:
    """Tables at `revision`. Rows that make no sense are left out and named."""
    damage: list[Damage] = []
    nouns = _decode(loaded, damage)
    draft = Draft(Tables(), revision, 0)
    _load_small(draft, nouns)
    _load_jobs(draft, nouns, damage)
    for _, node in nouns["nodes"]:
        draft.nodes[node.id] = node
    for _, evaluation in nouns["evaluations"]:
        draft.evaluations[evaluation.id] = evaluation
        _append(draft.evaluations_of_job, evaluation.job_key, evaluation.id)
        tally = draft.tally(evaluation.job_key)
        draft.tallies[evaluation.job_key] = replace(
            tally, evals=tally.evals + 1, open_evals=tally.open_evals + (not evaluation.is_terminal)
        )  # fmt: skip
    for _, deployment in nouns["deployments"]:
        draft.deployments[deployment.id] = deployment
        _append(draft.deployments_of_job, deployment.job_key, deployment.id)
        if deployment.is_active:
            tally = draft.tally(deployment.job_key)
            draft.tallies[deployment.job_key] = replace(
                tally, active_deployments=tally.active_deployments + 1
            )  # fmt: skip
    for _, node in nouns["nodes"]:
        refresh_columns(draft, node, is_new=False)
    _load_allocs(draft, nouns, damage)
    for table in TABLE_MARKS:
        draft.marks[(table,)] = revision
    tables, _ = draft.finish()
    return tables, damage


def _decode(loaded: Iterable[Change], damage: list[Damage]) -> dict[str, list[tuple[bytes, Any]]]:
    nouns: dict[str, list[tuple[bytes, Any]]] = defaultdict(list)
    for row in loaded:
        decoder = rows.DECODERS.get(row.table)
        if decoder is None or row.value is None:
            damage.append(Damage(f"table {row.table}", "this release does not know the table"))
            continue
        try:
            nouns[row.table].append((row.key, decoder.decode(row.value)))
        except (msgspec.MsgspecError, RecursionError) as error:
            # A row that is nested too deeply to be read is one row less, not a server that never starts again.
            damage.append(Damage(f"table {row.table}, row {row.key.hex()}", f"not understood: {error}"))
    return nouns


def _append(column: Column, key: object, value: str) -> None:
    column[key] = (*column.get(key, ()), value)


def _load_small(draft: Draft, nouns: dict[str, list[tuple[bytes, Any]]]) -> None:
    for _, pool in nouns["pools"]:
        draft.pools[pool.name] = pool
    for _, namespace in nouns["namespaces"]:
        draft.namespaces[namespace.name] = namespace
    for _, launch in nouns["launches"]:
        draft.launches[launch.namespace, launch.id] = launch
    for _, events in nouns["scaling"]:
        draft.scaling[events.namespace, events.job_id] = events
    for _, document in nouns["documents"]:
        draft.documents[document.table, document.key] = document
    for _, registration in nouns["services"]:
        services.restore(draft, registration)
    for _, configuration in nouns["configuration"]:
        draft.configuration = configuration


def _load_jobs(draft: Draft, nouns: dict[str, list[tuple[bytes, Any]]], damage: list[Damage]) -> None:
    by_incarnation: dict[tuple[str, str, int], list[Job]] = defaultdict(list)
    for _, spec in nouns["specs"]:
        draft.specs[jobs.spec_of(spec)] = spec
        by_incarnation[(*spec.key, spec.create_index)].append(spec)
    for _, head in nouns["jobs"]:
        key = (head.namespace, head.id)
        versions = sorted(by_incarnation[(*key, head.create_index)], key=lambda job: -job.version)
        newest = next((job for job in versions if job.version == head.version), None)
        if newest is None:
            damage.append(Damage(f"job {head.id} ({head.namespace})", f"version {head.version} is missing"))
            continue
        draft.jobs[key] = replace(
            newest, status=head.status, status_description=head.status_description,
            modify_index=head.modify_index,
        )  # fmt: skip
        draft.versions[key] = tuple(job for job in versions if job.version in head.versions)
        if newest.parent_id:
            parent = (newest.namespace, newest.parent_id)
            draft.children[parent] = draft.children.get(parent, Map()).set(key, True)
    for _, counts in nouns["counts"]:
        key = (counts.namespace, counts.job_id)
        draft.kept_counts[key] = counts
        draft.tallies[key] = replace(draft.tally(key), groups=counts.groups)
    for row_key, submission in nouns["submissions"]:
        create_index = int.from_bytes(row_key[:8], "big")
        draft.submissions[
            submission.namespace, submission.job_id, create_index, submission.version
        ] = submission  # fmt: skip


def _load_allocs(draft: Draft, nouns: dict[str, list[tuple[bytes, Any]]], damage: list[Damage]) -> None:
    changes: dict[int, dict[int, AllocChange]] = defaultdict(dict)
    for row_key, change in nouns["allocs"]:
        changes[int.from_bytes(row_key[:5], "big")][int.from_bytes(row_key, "big") & POSITIONS] = change
    for _, row in nouns["blocks"]:
        own = changes.pop(row.number, {})
        block = Block(row, sum(1 for change in own.values() if change.gone))
        _load_block(draft, block, own)
    for number, orphans in changes.items():
        damage.append(Damage(f"block {number}", f"missing; it held at least {len(orphans)} allocations"))


def _load_block(draft: Draft, block: Block, own: dict[int, AllocChange]) -> None:
    """Add a block and its copies' changes to every index, counting each copy once, as it is now."""
    draft.blocks[block.number] = block
    draft.next_block = max(draft.next_block, block.number + 1)
    newest = max((change.modify_index for change in own.values()), default=0)
    counting.index_block(draft, block, max(newest, block.row.create_index))
    draft.changes.put_all(block, own)
    earlier = draft.tally(block.job_key).modify_index
    untouched = np.ones(len(block), dtype=np.bool_)
    untouched[list(own)] = False
    counting.count_untouched(draft, block, np.flatnonzero(untouched))
    plain = {place: change for place, change in own.items() if not change.gone and change.moved is None}
    counting.count_changed(draft, block, plain)
    for position, change in own.items():
        if not change.gone and change.moved is not None:
            counting.count_moved(draft, block, position, change)
    ended = {block.node_of(position) for position, change in own.items() if change.is_client_terminal}
    for node_id in sorted(ended):
        counting.sort_on_node(draft, block, node_id)
    key = block.job_key
    tally = draft.tally(key)
    draft.tallies[key] = replace(
        tally, modify_index=max(earlier, newest, block.row.create_index)
    )  # fmt: skip
