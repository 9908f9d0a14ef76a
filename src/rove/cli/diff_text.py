"""Differences between two jobs as coloured lines. Pure but for the colours."""

from __future__ import annotations

from typing import Any

import click

Json = dict[str, Any]

MARKS = {"Added": ("+", "green"), "Deleted": ("-", "red"), "Edited": ("+/-", "yellow"), "None": ("", "")}
FORCES = {"forces create": "green", "forces destroy": "red", "forces create/destroy update": "yellow"}


def job_lines(diff: Json, *, verbose: bool = False) -> list[str]:
    """The difference of a job: its own fields, then its groups and their tasks."""
    lines = [f'{_mark(diff)}Job: "{diff.get("ID", "")}"']
    # A job that is new or gone is all difference: its fields are shown on request only.
    if verbose or diff.get("Type") == "Edited":
        lines += _parts(diff, 0)
    for group in diff.get("TaskGroups") or []:
        lines += _group(group, verbose)
    return lines


def _group(group: Json, verbose: bool) -> list[str]:
    lines = [f'{_mark(group)}Task Group: "{group.get("Name", "")}"{_updates(group)}']
    if verbose or group.get("Type") == "Edited":
        lines += _parts(group, 2)
    for task in group.get("Tasks") or []:
        if task.get("Type") == "None" and not verbose:
            continue
        lines.append(f'  {_mark(task)}Task: "{task.get("Name", "")}"{_annotations(task)}')
        if verbose or task.get("Type") == "Edited":
            lines += _parts(task, 4)
    return lines


def _updates(group: Json) -> str:
    updates = {label: int(count) for label, count in (group.get("Updates") or {}).items() if count}
    if not updates:
        return ""
    return " (" + ", ".join(f"{count} {label}" for label, count in sorted(updates.items())) + ")"


def _annotations(entry: Json) -> str:
    found = entry.get("Annotations") or []
    if not found:
        return ""
    return " (" + ", ".join(click.style(note, fg=FORCES.get(note, "cyan")) for note in found) + ")"


def _parts(entry: Json, indent: int) -> list[str]:
    fields = [each for each in entry.get("Fields") or [] if each.get("Type") != "None"]
    width = max((len(str(each.get("Name", ""))) for each in fields), default=0)
    lines = [_field(each, indent, width) for each in fields]
    for thing in entry.get("Objects") or []:
        if thing.get("Type") == "None":
            continue
        lines.append(f"{' ' * indent}{_mark(thing)}{thing.get('Name', '')} {{")
        lines += _parts(thing, indent + 6)
        lines.append(f"{' ' * (indent + 4)}}}")
    return lines


def _field(field: Json, indent: int, width: int) -> str:
    kind = field.get("Type")
    name = f"{field.get('Name', '')}:".ljust(width + 1)
    old, new = _quoted(field.get("Old")), _quoted(field.get("New"))
    value = {"Added": new, "Deleted": old}.get(str(kind), f"{old} => {new}")
    return f"{' ' * indent}{_mark(field)}{name} {value}{_annotations(field)}"


def _mark(entry: Json) -> str:
    mark, color = MARKS.get(str(entry.get("Type")), ("", ""))
    return f"{click.style(mark, fg=color)} " if mark else ""


def _quoted(value: Any) -> str:
    text = str(value if value is not None else "")
    return '"' + "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in text) + '"'
