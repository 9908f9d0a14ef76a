"""The volume that allocations live on."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from rove.client.fingerprint.storage import probe


def test_a_folder_that_does_not_exist_yet_is_measured_where_it_will_be(tmp_path: Path) -> None:
    later, now = probe(tmp_path / "a" / "b")[0], probe(tmp_path)[0]
    assert later["unique.storage.bytestotal"] == now["unique.storage.bytestotal"]


def test_a_volume_has_a_name_even_where_its_mount_is_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [])
    number = os.stat(tmp_path).st_dev
    assert probe(tmp_path)[0]["unique.storage.volume"] == f"{os.major(number)}:{os.minor(number)}"
