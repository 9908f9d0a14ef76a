"""Every failure a person can meet, in one shape: what happened, why, and how to mend it.

A `RoveError` is raised where the failure is understood and turned into HTTP text by `rove.api`
and into terminal text by `rove.cli`, each in one place. Bugs of our own raise `InvariantError`.
"""

from __future__ import annotations


class RoveError(Exception):
    """A failure that a person has to act on.

    code: stable dotted name, for instance ``job.unknown_driver``. what: one sentence, what did not
    happen. why: the cause, empty if `what` says it all. fix: what to do, may be empty.
    status: the HTTP status that the API answers with.
    """

    status = 500

    def __init__(self, code: str, what: str, why: str = "", fix: str = "", status: int | None = None) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.why = why
        self.fix = fix
        if status is not None:
            self.status = status

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """The failure as lines of plain text, without a trailing newline."""
        lines = [f"{self.what} [{self.code}]"]
        if self.why:
            lines += _labelled("why", self.why)
        if self.fix:
            lines += _labelled("fix", self.fix)
        return "\n".join(lines)


def _labelled(label: str, text: str) -> list[str]:
    first, *rest = text.splitlines() or [""]
    return [f"  {label}: {first}", *(f"       {line}" for line in rest)]


class BadRequestError(RoveError):
    """The request itself is wrong: syntax, types, ranges."""

    status = 400


class ForbiddenError(RoveError):
    """The caller may not do this."""

    status = 403


class NotFoundError(RoveError):
    """The thing named does not exist."""

    status = 404


class ConflictError(RoveError):
    """The state has moved on from what the caller expected."""

    status = 409


class TooLargeError(RoveError):
    """A body or value is above its limit."""

    status = 413


class InvalidJobError(RoveError):
    """A job that cannot be accepted. `problems` holds every reason, one line each.

    Status 500 is what Nomad's API answers for a job that fails validation at registration.
    """

    status = 500

    def __init__(self, job_id: str, problems: list[str]) -> None:
        self.problems = problems
        plural = "problem" if len(problems) == 1 else "problems"
        listing = "\n".join(f"* {problem}" for problem in problems)
        name = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in job_id[:128])
        super().__init__(
            "job.invalid", f'job "{name}" was not accepted: {len(problems)} {plural}', why=listing,
            fix="mend the job file and submit it again",
        )  # fmt: skip


class UnavailableError(RoveError):
    """Something this call needs cannot be reached now: no leader, no route to a node."""

    status = 500


class InvariantError(Exception):
    """A bug of our own: a state that was held to be impossible."""


def invariant(condition: object, message: str) -> None:
    """Raise `InvariantError` unless `condition` holds. Always on, unlike `assert`."""
    if not condition:
        raise InvariantError(message)
