"""What can be wrong with a foreign file or with the way it was described.

Only errors that a person can act on belong here; each message says what to do. A bad *record* is no error:
it goes to the quarantine with a reason.
"""

from dataclasses import dataclass


class ConnectorError(Exception):
    """Base of every error that reading a foreign file raises."""


class UnreadableFile(ConnectorError):
    """The file as a whole cannot be read without losing something; nothing of it was landed."""


class InvalidMapping(ConnectorError):
    """The mapping names a column, an encoding, a format or a time zone that does not exist."""


@dataclass(frozen=True)
class Question:
    """One choice that the data alone does not settle.

    Attributes:
        field: The mapping field that is open, such as ``case_id`` or ``timezone``.
        option: The command-line option that answers it, such as ``--case-id``.
        candidates: Values that would be possible answers, best first; empty if any value is possible.
        message: Plain English: what is unclear and why.
    """

    field: str
    option: str
    candidates: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        """The question with its possible answers, on one line."""
        answers = " or ".join(f"{self.option} {_shell_word(candidate)}" for candidate in self.candidates)
        return f"{self.message} Give {answers or self.option + ' VALUE'}."


class AmbiguousMapping(ConnectorError):
    """More than one reading of the file is possible; ``questions`` says which, and how to answer."""

    def __init__(self, questions: tuple[Question, ...]) -> None:
        """Keep the open questions; the message lists them one a line."""
        super().__init__("\n".join(str(question) for question in questions))
        self.questions = questions


def _shell_word(value: str) -> str:
    return value if value and all(c.isalnum() or c in "_-:/.%+@" for c in value) else f"'{value}'"
