"""Configuration before it has types: tables of values that remember where they were written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One value. where: ``file:line`` or a flag."""

    value: Any
    where: str


@dataclass
class Table:
    """Options and stanzas by name. A labelled stanza is a table that holds one table a label."""

    where: str = ""
    items: dict[str, Setting | Table] = field(default_factory=dict)

    def merge(self, other: Table) -> None:
        """Lay `other` over this: stanzas are joined, single values replaced."""
        for name, item in other.items.items():
            mine = self.items.get(name)
            if isinstance(mine, Table) and isinstance(item, Table):
                mine.merge(item)
            else:
                self.items[name] = item

    def plain(self) -> dict[str, Any]:
        """Values only."""
        return {name: item.plain() if isinstance(item, Table) else item.value for name, item in self.items.items()}


def from_dict(values: dict[str, Any], where: Callable[[str], str]) -> Table:
    """A table of nested dicts. where: the place of an option, from its name."""
    table = Table(where=where(""))
    for name, value in values.items():
        place = where(name)
        if isinstance(value, dict):
            inner = from_dict(value, where)
            inner.where = place
            table.items[name] = inner
        elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            # The JSON form of repeated stanzas.
            joined = Table(where=place)
            for each in value:
                joined.merge(from_dict(each, where))
            table.items[name] = joined
        else:
            table.items[name] = Setting(value, place)
    return table
