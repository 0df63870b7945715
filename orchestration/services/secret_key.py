"""The file with the key that an installation has made for itself; stored secrets are sealed with it.

While it is exchanged the file has the new key and those before, which still open what they sealed.
"""

import secrets
from pathlib import Path

from pydantic import BaseModel

from orchestration.services.files import load_or_create, write_private


class KeptKeys(BaseModel):
    """The keys; lost, what was sealed has to be entered anew."""

    secret_key: str
    old_secret_keys: list[str] = []

    def endpoints(self) -> dict[str, str | list[str]]:
        """For the endpoints file. No old keys are left out, so that the file stays as it was."""
        return self.model_dump(exclude_defaults=True)


class SecretKeyFile:
    """``$CASETRAIL_HOME/secret-key.json``."""

    def __init__(self, home: Path) -> None:
        """Nothing is touched."""
        self._path = home / "secret-key.json"

    def keys(self) -> KeptKeys:
        """The keys, made now if there are none."""
        return load_or_create(self._path, KeptKeys, lambda: KeptKeys(secret_key=_new_key()))

    def made(self) -> list[str]:
        """The keys, the one that seals first; empty if none was made."""
        if not self._path.exists():
            return []
        kept = self.keys()
        return [kept.secret_key, *kept.old_secret_keys]

    def begin_exchange(self) -> KeptKeys:
        """A new key in front of the old one, unless an exchange has begun already."""
        kept = self.keys()
        if kept.old_secret_keys:
            return kept
        return self._keep(KeptKeys(secret_key=_new_key(), old_secret_keys=[kept.secret_key]))

    def forget_old(self) -> KeptKeys:
        """Only the newest key. What the others sealed is lost."""
        return self._keep(KeptKeys(secret_key=self.keys().secret_key))

    def _keep(self, kept: KeptKeys) -> KeptKeys:
        write_private(self._path, kept.model_dump_json(indent=2))
        return kept


def _new_key() -> str:
    return secrets.token_urlsafe(32)
