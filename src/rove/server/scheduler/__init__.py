"""The scheduler: a pure library that turns (evaluation, snapshot) into a plan with reasons.

- `schedule` decides what must change so that what runs becomes what a job asks for.
- `verify` checks a plan again against a newer snapshot and keeps the part that still holds.
- `explain` says, for one node or all, every reason why a group cannot be placed there.
- `why` says in one paragraph why a job's count is not met.

Nothing here reads a clock, makes randomness or does I/O: `now` (seconds since the epoch), a seeded
`rng` and `new_id` are passed in. Equal inputs give equal results.
"""

from .explain import NodeVerdict, Obstacle, explain, nearest_miss, why
from .schedule import schedule
from .verify import verify
from .view import Fleet, View

__all__ = ["Fleet", "NodeVerdict", "Obstacle", "View", "explain", "nearest_miss", "schedule", "verify", "why"]
