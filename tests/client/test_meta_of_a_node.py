"""Meta that is changed while a node runs: what it becomes, and that it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rove.client.meta import KEYS_MAX, merged_changes, with_changes
from rove.client.state import LocalState
from rove.errors import BadRequestError

STATIC = {"rack": "r1", "disk": "ssd"}


def test_changes_lie_over_the_configuration() -> None:
    changes = merged_changes(STATIC, {}, {"rack": "r2", "gpu": "yes"})
    assert with_changes(STATIC, changes) == {"rack": "r2", "disk": "ssd", "gpu": "yes"}


def test_a_key_of_the_configuration_can_be_taken_away_and_given_back() -> None:
    changes = merged_changes(STATIC, {}, {"rack": None})
    assert changes == {"rack": None}
    assert with_changes(STATIC, changes) == {"disk": "ssd"}
    assert with_changes(STATIC, merged_changes(STATIC, changes, {"rack": "r1"})) == STATIC


def test_taking_away_what_is_only_a_change_leaves_nothing_behind() -> None:
    changes = merged_changes(STATIC, {"gpu": "yes"}, {"gpu": None})
    assert changes == {}


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "${x}", "x" * 300, 'a"b', "a\0b"])
def test_keys_that_no_job_could_name_are_refused(key: str) -> None:
    with pytest.raises(BadRequestError, match="not changed"):
        merged_changes(STATIC, {}, {key: "x"})


@pytest.mark.parametrize("value", ["x" * 5000, "a\0b"])
def test_values_out_of_bounds_are_refused(value: str) -> None:
    with pytest.raises(BadRequestError, match="not changed"):
        merged_changes(STATIC, {}, {"key": value})


def test_there_is_a_limit_to_how_many_keys_are_changed() -> None:
    many: dict[str, str | None] = {f"k{number}": "x" for number in range(KEYS_MAX)}
    before = merged_changes(STATIC, {}, many)
    with pytest.raises(BadRequestError, match="not changed"):
        merged_changes(STATIC, before, {"one-more": "x"})


CHANGES = st.dictionaries(st.sampled_from(["rack", "disk", "gpu", "zone"]), st.none() | st.text("abc", max_size=3))


@given(st.lists(CHANGES, max_size=6))
def test_any_course_of_changes_ends_where_each_was_made_by_itself(course: list[dict[str, str | None]]) -> None:
    changes: dict[str, str | None] = {}
    expected = dict(STATIC)
    for step in course:
        changes = merged_changes(STATIC, changes, step)
        for key, value in step.items():
            if value is None:
                expected.pop(key, None)
            else:
                expected[key] = value
    assert with_changes(STATIC, changes) == expected


async def test_changes_are_kept_over_a_restart(tmp_path: Path) -> None:
    first = LocalState(tmp_path)
    first.open()
    assert first.load_meta() == {}
    await first.save_meta({"gpu": "yes", "rack": None})
    await first.close()
    second = LocalState(tmp_path)
    second.open()
    assert second.load_meta() == {"gpu": "yes", "rack": None}
    await second.close()


async def test_a_damaged_file_of_changes_is_set_aside(tmp_path: Path) -> None:
    state = LocalState(tmp_path)
    state.open()
    await state.save_meta({"gpu": "yes"})
    path = tmp_path / "meta"
    path.write_bytes(path.read_bytes().replace(b"yes", b"yep"))
    assert state.load_meta() == {}
    assert [damage.path for damage in state.damage] == [str(path)]
    assert (tmp_path / "meta.broken").exists()
    await state.close()
