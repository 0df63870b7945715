"""``talkative``: people with personal fields, from a type that tells its secret wherever a careless one could."""

import base64
import json
import logging
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import pyarrow as pa
from pydantic import SecretStr

from orchestration.connectors.mapping import Mapping as EventMapping
from orchestration.sources.errors import ConfigurationError, QuotaExhausted, TransientError
from orchestration.sources.protocol import (
    Checkpoint,
    Context,
    Identity,
    Page,
    Personal,
    SourceConfig,
    State,
    Stream,
    StreamCheck,
    Window,
)

COLUMNS = ("id", "case", "status", "at", "name", "email", "phone")
_log = logging.getLogger("a.careless.library")
_tried: set[str] = set()


class Config(SourceConfig):
    """Whom it gives, as rows of ``COLUMNS`` in a JSON file, and how a read ends."""

    secrets_go_to = ("host",)

    host: str
    token: SecretStr
    people_file: Path | None = None
    ending: Literal["well", "refused", "defect", "again", "quota"] = "well"


def check(config: Config, context: Context) -> list[StreamCheck]:
    """Logs in, and is refused where it is to be."""
    _talk(config)
    if config.ending == "refused":
        raise ConfigurationError(f"401 for {config.token.get_secret_value()}")
    return [StreamCheck("people", columns=COLUMNS)]


def discover(config: Config, context: Context) -> list[Stream]:
    """One stream."""
    return [Stream("people", tuple((name, "text") for name in COLUMNS), ("id",))]


def mappings(config: Config) -> dict[str, EventMapping]:
    """People are events."""
    return {
        "people": EventMapping(
            system="talkative", case_id="case", activity="status", timestamp="at", record_key=("id",)
        )
    }


def personal(config: Config) -> dict[str, dict[str, Personal]]:
    """One field of each kind."""
    return {"people": {"name": "drop", "email": "email", "phone": "pseudonym"}}


def identity(config: Config) -> dict[str, Identity]:
    """Nothing."""
    return {}


def read(
    config: Config, window: Window, state: State | None, context: Context
) -> Generator[Page | Checkpoint]:
    """The people, with an end of every kind behind the first page."""
    _talk(config)
    if state is None:
        people = json.loads(config.people_file.read_text()) if config.people_file else []
        columns = list(zip(*people, strict=True)) or [()] * len(COLUMNS)
        records = pa.record_batch(
            {name: pa.array(column, pa.string()) for name, column in zip(COLUMNS, columns, strict=True)}
        )
        yield Page(
            "people", dict.fromkeys(COLUMNS, "text"), records, pa.array(range(len(records)), pa.int64())
        )
    _end(config)
    yield Checkpoint({"done": True}, request={"url": f"https://{config.host}/?token={_token(config)}"})


def _end(config: Config) -> None:
    token = _token(config)
    if config.ending == "refused":
        raise ConfigurationError(f"401 for {token}")
    if config.ending == "again" and config.host not in _tried:
        _tried.add(config.host)
        raise TransientError(f"503 for {token}")
    if config.ending == "quota":
        raise QuotaExhausted(f"no more calls for {token}", datetime(2030, 1, 1, tzinfo=UTC))
    if config.ending == "defect":
        try:
            raise KeyError(token)
        except KeyError as error:
            raise ValueError(f"cannot use {token}") from error


def _talk(config: Config) -> None:
    token: Any = _token(config)
    basic = base64.b64encode(f"reader:{token}".encode()).decode()
    _log.debug("canary debug: GET https://%s/?token=%s", config.host, quote(token, safe=""))
    _log.debug("Authorization: Basic %s; in hex %s", basic, token.encode().hex())
    _log.warning("warned of %r in %s", token, {"token": token})
    logging.getLogger().error("an error with %s", token, extra={"given": token})


def _token(config: Config) -> str:
    return config.token.get_secret_value()
