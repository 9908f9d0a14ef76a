from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

UGLY = 'job "web" {\ngroup "api" {\ncount=2\n}\n}\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web.hcl").write_text(UGLY)
    (tmp_path / "notes.txt").write_text(UGLY)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "more.nomad").write_text(UGLY)
    return tmp_path


def test_files_are_laid_out_once(folder: Path, rove: Any) -> None:
    first = rove("fmt")
    assert (first.code, first.out) == (0, "web.hcl\n")
    assert "    count = 2\n" in (folder / "web.hcl").read_text()
    assert rove("fmt").out == ""
    assert (folder / "notes.txt").read_text() == UGLY
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "sub", "web.hcl"]


def test_a_check_changes_nothing_and_ends_with_1(folder: Path, rove: Any) -> None:
    assert rove("fmt", "-check", "web.hcl").code == 1
    assert (folder / "web.hcl").read_text() == UGLY
    rove("fmt")
    assert rove("fmt", "-check").code == 0


def test_folders_in_folders_only_when_asked(folder: Path, rove: Any) -> None:
    assert "more.nomad" not in rove("fmt", "-check").out
    assert "more.nomad" in rove("fmt", "-check", "-recursive").out


def test_standard_input_goes_to_standard_output(rove: Any) -> None:
    assert "    count = 2\n" in rove("fmt", "-", stdin=UGLY).out


def test_a_file_with_a_mistake_is_left_as_it_is(folder: Path, rove: Any) -> None:
    (folder / "web.hcl").write_text("job {{{\n")
    result = rove("fmt")
    assert result.code == 1
    assert "web.hcl:1:" in result.err
    assert (folder / "web.hcl").read_text() == "job {{{\n"


def test_other_files_are_not_touched(folder: Path, rove: Any) -> None:
    assert "only files that end with" in rove("fmt", "notes.txt").err
