"""The errors that every caller of the control plane can show as they are: what is wrong, and what to do."""


class ControlPlaneError(Exception):
    """The control plane refuses or cannot do what was asked. The message is written for the user."""


class InvalidInput(ControlPlaneError, ValueError):
    """A value has the wrong form. Nothing was sent to the database."""


class NotAllowed(ControlPlaneError):
    """The acting user's role does not permit it."""


class UnknownUser(ControlPlaneError):
    """No user has this e-mail address."""
