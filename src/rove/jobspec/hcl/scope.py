"""What an expression may see and spend while it is worked out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from rove.jobspec.hcl import limits

if TYPE_CHECKING:
    from rove.jobspec.hcl.functions.files import Files


class EvalError(Exception):
    """An expression that has no value. start, end: offsets in its source, None until the place is known."""

    def __init__(self, summary: str, detail: str = "", start: int | None = None, end: int | None = None) -> None:
        super().__init__(summary)
        self.summary = summary
        self.detail = detail
        self.start = start
        self.end = end
        self.mistyped: tuple[str, Collection[str]] | None = None  # a name, and those that were possible

    @property
    def full_detail(self) -> str:
        """The detail, with the name that was probably meant. Worked out for people only: comparing names is slow."""
        if self.mistyped is None or len(self.mistyped[1]) > limits.NAMES_COMPARED_MAX:
            return self.detail
        from difflib import get_close_matches

        near = get_close_matches(self.mistyped[0][:80], list(self.mistyped[1]), 1)
        return f'{self.detail}; did you mean "{near[0]}"?' if near else self.detail


class BudgetError(EvalError):
    """A file that asks for too much. `try` and `can` do not hide it."""


class PoisonedError(EvalError):
    """A name whose own definition failed, which has been reported already."""


class Budget:
    """What one file may use up in all: loop rounds and calls, characters and elements."""

    __slots__ = ("room", "steps")

    def __init__(self) -> None:
        self.steps = limits.STEPS_MAX
        self.room = limits.TOTAL_MAX

    def step(self, count: int = 1) -> None:
        """Count work. Raises BudgetError when there has been too much."""
        self.steps -= count
        if self.steps < 0:
            raise BudgetError(
                "Too much work", "working out the values of this file takes more steps than one file may have"
            )

    def hold(self, size: int, limit: int = limits.TEXT_MAX) -> None:
        """Count what was made. Raises BudgetError when it is too big by itself or in sum."""
        if size > limit:
            raise BudgetError("Too large", f"this makes a value of more than {limit} characters and elements")
        self.room -= size
        if self.room < 0:
            raise BudgetError("Too large", f"the file makes more than {limits.TOTAL_MAX} characters and elements")


class Scope:
    """Names that have a value. `unknown`: what a name without one gives, by its source text; None: an error."""

    __slots__ = ("budget", "entropy", "files", "functions", "names", "unknown")

    def __init__(
        self,
        names: dict[str, Any],
        *,
        budget: Budget | None = None,
        unknown: Callable[[str], Any] | None = None,
        functions: bool = True,
        files: Files | None = None,
        entropy: Callable[[int], bytes] | None = None,
    ) -> None:
        self.names = names
        self.budget = budget or Budget()
        self.unknown = unknown
        self.functions = functions
        self.files = files
        self.entropy = entropy

    def child(self, names: dict[str, Any]) -> Scope:
        """The same scope with these names on top."""
        return Scope(
            {**self.names, **names},
            budget=self.budget,
            unknown=self.unknown,
            functions=self.functions,
            files=self.files,
            entropy=self.entropy,
        )


def keep_as_text(text: str) -> str:
    """A name only the node knows stays in the job as it was written."""
    return "${" + text + "}"


class Poisoned:
    """Stands for a variable or local whose definition failed."""

    __slots__ = ()


POISONED = Poisoned()
