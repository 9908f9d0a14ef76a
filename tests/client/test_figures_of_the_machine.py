"""What the machine has left and how busy its CPUs are."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest

from rove.client.usage import CpuMeter, cpu_shares, host_usage

Times = namedtuple("Times", "user nice system idle iowait irq softirq steal guest guest_nice")
ZERO = Times(*[0.0] * 10)


def test_shares_are_of_the_time_between_two_readings() -> None:
    before = ZERO._replace(user=1000.0, idle=5000.0)
    after = ZERO._replace(user=1001.0, system=1.0, idle=5001.0, iowait=1.0)
    shares = cpu_shares(before, after)
    assert shares == {"User": 25.0, "System": 25.0, "Idle": 50.0, "TotalPercent": 50.0}


def test_guests_which_the_kernel_counts_as_users_too_count_once() -> None:
    shares = cpu_shares(ZERO, ZERO._replace(user=2.0, guest=2.0, idle=2.0))
    assert (shares["User"], shares["Idle"]) == (50.0, 50.0)


def test_no_time_between_two_readings_is_an_idle_machine() -> None:
    assert cpu_shares(ZERO, ZERO)["TotalPercent"] == 0.0


def test_the_first_reading_is_of_a_moment_and_not_of_nothing(tmp_path: Path) -> None:
    usage = host_usage(tmp_path, 2e9, 5000, CpuMeter())
    assert usage["CPU"]
    assert any(cpu["Idle"] > 0 or cpu["User"] > 0 or cpu["System"] > 0 for cpu in usage["CPU"])
    assert usage["CPUTicksConsumed"] == pytest.approx(sum(cpu["TotalTicks"] for cpu in usage["CPU"]))
    assert usage["CPUTicksConsumed"] <= 5000


def test_readings_close_together_share_their_answer() -> None:
    meter = CpuMeter()
    assert meter.read() is meter.read()
