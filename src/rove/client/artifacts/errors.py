"""The one failure of this room."""


class ArtifactError(Exception):
    """An artifact could not be had. what: one line without secrets; why: the cause.

    recoverable: trying again may help, so the task's restart policy applies.
    """

    def __init__(self, what: str, why: str, *, recoverable: bool = False) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what
        self.why = why
        self.recoverable = recoverable
