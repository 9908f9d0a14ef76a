"""Task events: Nomad's type names, which clients look for, with our own sentences. Pure."""

from __future__ import annotations

from rove.structs.alloc import TaskEvent
from rove.structs.base import unix_ns

RECEIVED = "Received"
TASK_SETUP = "Task Setup"
BUILDING = "Building Task Directory"
DOWNLOADING = "Downloading Artifacts"
DOWNLOAD_FAILED = "Failed Artifact Download"
SETUP_FAILURE = "Setup Failure"
VALIDATION_FAILED = "Failed Validation"
DRIVER = "Driver"
DRIVER_FAILURE = "Driver Failure"
STARTED = "Started"
TERMINATED = "Terminated"
RESTARTING = "Restarting"
NOT_RESTARTING = "Not Restarting"
RESTART_SIGNALED = "Restart Signaled"
SIGNALING = "Signaling"
KILLING = "Killing"
KILLED = "Killed"
SIBLING_FAILED = "Sibling Task Failed"
LEADER_DEAD = "Leader Task Dead"
MAIN_DEAD = "Main Tasks Dead"
HOOK_FAILED = "Task hook failed"
HOOK_MESSAGE = "Task hook message"
RESTORE_FAILED = "Failed Restoring Task"
RECONNECTED = "Reconnected"
SHUTDOWN_DELAY = "Waiting for shutdown delay"
SHUTDOWN_DELAY_SKIPPED = "Skipping shutdown delay"
UNHEALTHY = "Alloc Unhealthy"


def event(kind: str, now: float, text: str, **details: str) -> TaskEvent:
    """An event at `now` (seconds since the epoch). text: one sentence for people."""
    return TaskEvent(type=kind, time=unix_ns(now), display_message=text, details=details)


def duration(seconds: float) -> str:
    """A duration as people write it: 90 gives "1m30s"."""
    if seconds < 1:
        return f"{seconds * 1000:.3g}ms" if seconds else "0s"
    whole, fraction = divmod(seconds, 1)
    minutes, rest = divmod(int(whole), 60)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest + fraction:.3f}".rstrip("0").rstrip(".") if fraction else str(rest)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else "", f"{tail}s" if tail != "0" else ""]
    return "".join(parts)


def received(now: float) -> TaskEvent:
    """The node has got the task."""
    return event(RECEIVED, now, "The node has received the task")


def task_setup(now: float) -> TaskEvent:
    """Preparation begins."""
    return event(TASK_SETUP, now, "Preparing the task directory", message="Preparing the task directory")


def started(now: float) -> TaskEvent:
    """The driver has started it."""
    return event(STARTED, now, "The task was started")


def terminated(now: float, code: int, signal: int, oom_killed: bool, error: str) -> TaskEvent:
    """The task has ended. A signal without a code counts as 128 + signal, as shells have it."""
    code = code or (128 + signal if signal else 0)
    text = f"Exit code {code}" if not signal else f"Exit code {code}, signal {signal}"
    details = {"exit_code": str(code), "signal": str(signal), "oom_killed": str(oom_killed).lower()}
    if oom_killed:
        text += ", killed for want of memory"
    if error:
        text += f": {error}"
        details["exit_message"] = error
    return event(TERMINATED, now, text, **details)


def restarting(now: float, reason: str, delay_s: float) -> TaskEvent:
    """It will be started again."""
    details = {"restart_reason": reason, "start_delay": str(int(delay_s * 1e9))}
    return event(RESTARTING, now, f"Restarting in {duration(delay_s)}: {reason}", **details)


def not_restarting(now: float, reason: str) -> TaskEvent:
    """It has failed for good."""
    return event(NOT_RESTARTING, now, f"Not restarted: {reason}", restart_reason=reason, fails_task="true")


def restart_signaled(now: float, reason: str) -> TaskEvent:
    """Somebody or something asked for a restart."""
    return event(RESTART_SIGNALED, now, f"A restart was asked for: {reason}", restart_reason=reason)


def signaling(now: float, signal: str, reason: str = "") -> TaskEvent:
    """A signal is sent."""
    text = f"Sending {signal}" + (f": {reason}" if reason else "")
    return event(SIGNALING, now, text, task_signal=signal, task_signal_reason=reason)


def killing(now: float, timeout_s: float, reason: str = "") -> TaskEvent:
    """The task is asked to end."""
    text = f"Asked to end; forced after {duration(timeout_s)}" + (f" ({reason})" if reason else "")
    return event(KILLING, now, text, kill_timeout=duration(timeout_s), kill_reason=reason)


def killed(now: float) -> TaskEvent:
    """The task was ended by us."""
    return event(KILLED, now, "The task was ended")


def driver_failure(now: float, error: str) -> TaskEvent:
    """The driver could not start it."""
    return event(DRIVER_FAILURE, now, f"The driver could not start the task: {error}", driver_error=error)


def setup_failure(now: float, error: str) -> TaskEvent:
    """Preparation failed."""
    return event(SETUP_FAILURE, now, f"The task could not be prepared: {error}", setup_error=error)


def sibling_failed(now: float, sibling: str) -> TaskEvent:
    """Another task of the group has failed."""
    return event(SIBLING_FAILED, now, f'Ended because task "{sibling}" of the group failed', failed_sibling=sibling)


def leader_dead(now: float) -> TaskEvent:
    """The group's leader has ended."""
    return event(LEADER_DEAD, now, "Ended because the group's leader task has ended")


def main_dead(now: float) -> TaskEvent:
    """All main tasks have ended."""
    return event(MAIN_DEAD, now, "Ended because all main tasks of the group have ended")
