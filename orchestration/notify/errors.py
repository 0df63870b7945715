"""Why a message did not reach its receiver."""


class NotDelivered(Exception):
    """A message was not taken. The text is shown to the workspace: no secret, no path of a URL.

    Attributes:
        final: Another attempt would not help.
    """

    def __init__(self, reason: str, *, final: bool = False) -> None:
        """``reason`` tells what happened and, where there is something to do, what."""
        super().__init__(reason)
        self.final = final
