"""The table of the language and the nouns of the API name the same things; neither can drift from the other."""

from __future__ import annotations

import msgspec
import pytest

from rove.jobspec.drivers import DRIVERS
from rove.jobspec.schema import JOB, Body, Kind
from rove.jobspec.slim import _STRUCTS
from rove.structs import job as nouns

MORE = {
    "update": nouns.UpdateStrategy,
    "migrate": nouns.MigrateStrategy,
    "restart": nouns.RestartPolicy,
    "reschedule": nouns.ReschedulePolicy,
    "spread": nouns.Spread,
    "multiregion": nouns.Multiregion,
    "ui": nouns.JobUI,
    "schedule": nouns.TaskSchedule,
    "wait": nouns.WaitConfig,
    "cni": nouns.CNIConfig,
    "dispatch_payload": nouns.DispatchPayload,
}
LABELS = {"port": {"Label"}, "device": {"Name"}}
ONLY_IN_FILES = {"job": {"Reschedule", "Migrate"}}
ONLY_IN_THE_STORE = {"scaling": {"CreateIndex", "ModifyIndex"}}


def bodies() -> dict[str, Body]:
    found: dict[str, Body] = {}

    def look(body: Body) -> None:
        if body.name == "connect" or body.name in found:
            return
        found[body.name] = body
        for nest in body.blocks.values():
            look(nest.body)

    look(JOB)
    return found


@pytest.mark.parametrize("name", sorted({**_STRUCTS, **MORE}))
def test_a_block_has_the_fields_of_its_struct(name: str) -> None:
    struct = {**_STRUCTS, **MORE}[name]
    fields = {field.encode_name for field in msgspec.structs.fields(struct)}
    quiet = {nest.key for nest in bodies()[name].blocks.values() if nest.quiet}
    words = set(bodies()[name].blank) | quiet | LABELS.get(name, set())
    assert words - ONLY_IN_FILES.get(name, set()) == fields - ONLY_IN_THE_STORE.get(name, set())


def test_every_attribute_has_the_kind_its_field_has() -> None:
    wanted = {
        Kind.STR: str, Kind.INT: int, Kind.BOOL: bool, Kind.DURATION: int, Kind.STRS: tuple[str, ...],
        Kind.MAP: dict[str, str],
    }  # fmt: skip
    import typing

    for name, struct in {**_STRUCTS, **MORE}.items():
        hints = typing.get_type_hints(struct)
        by_key = {field.encode_name: hints[field.name] for field in msgspec.structs.fields(struct)}
        for word, attr in bodies()[name].attrs.items():
            if attr.kind not in wanted or attr.key not in by_key:
                continue
            hint = by_key[attr.key]
            options = typing.get_args(hint) if type(None) in typing.get_args(hint) else (hint,)
            enum = isinstance(options[0], type) and issubclass(options[0], str)
            assert wanted[attr.kind] in options or enum, f"{name}.{word}"


def test_every_driver_has_its_words() -> None:
    assert {"raw_exec", "exec", "docker", "podman", "java", "qemu", "mock_driver"} <= set(DRIVERS)
    for table in DRIVERS.values():
        assert all(key in table.fields for choice in table.required for key in choice)
