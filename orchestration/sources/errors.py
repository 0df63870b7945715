"""What can go wrong with a source, by who must act: a person, nobody (try again), or nobody before a certain time.

Every message is shown to the workspace and says what to do. Secrets are taken out of it (``stages.source_access``).
"""

from datetime import datetime


class SourceError(Exception):
    """Base of what a connector type raises."""


class ConfigurationError(SourceError):
    """A person must act: wrong credentials, a missing right, a table that is not there. Trying again is no help."""


class TransientError(SourceError):
    """It may work the next time.

    Attributes:
        retry_after: Seconds that the source asks to wait; None if it said nothing.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        """``message`` tells what happened."""
        super().__init__(message)
        self.retry_after = retry_after


class QuotaExhausted(SourceError):
    """The source gives no more before ``resume_at`` (UTC). Nothing is wrong with the connector."""

    def __init__(self, message: str, resume_at: datetime) -> None:
        """``message`` names the quota."""
        super().__init__(message)
        self.resume_at = resume_at
