"""What says who is who in a workspace: its connectors' records, and its people."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

from pydantic import SecretStr

from orchestration.control_plane import case_registry, pulls
from orchestration.control_plane.database import Connection, as_system
from orchestration.control_plane.pulls import Speaker
from orchestration.lake import layout
from orchestration.sources.protocol import Identity
from orchestration.sources.registry import UnknownType, identities, shown_source
from orchestration.stages.identity import identity_fingerprint
from orchestration.stages.link_statements import LinkPart
from orchestration.stages.stitching import stitch_workspace
from orchestration.stages.workbench import IdentitySources


def fingerprints(connection: Connection, workspace_ids: Sequence[str]) -> dict[str, str]:
    """By workspace the fingerprint of all that says who is who; those where nothing does are not in the answer.

    A connector whose type is no longer installed says nothing here, where other workspaces are planned too: a run of
    its own workspace tells what is missing.
    """
    spoken: dict[str, list[tuple[Speaker, dict[str, Identity]]]] = {}
    for speaker in pulls.speakers(connection, workspace_ids):
        with suppress(UnknownType):
            spoken.setdefault(speaker.workspace_id, []).append((speaker, _identities(speaker)))
    words = case_registry.words_said(connection, workspace_ids)
    found = {
        workspace_id: _fingerprint(spoken.get(workspace_id, ()), words.get(workspace_id, 0))
        for workspace_id in spoken.keys() | words.keys()
    }
    return {workspace_id: fingerprint for workspace_id, fingerprint in found.items() if fingerprint}


def identity_sources(
    connection: Connection, dsn: SecretStr | str, workspace_id: str, url: Callable[[str], str]
) -> IdentitySources | None:
    """What a workspace's identity is made from; None where nothing says anything. ``url`` gives an object's address.

    Raises:
        UnknownType: a connector's type is no longer installed.
    """
    spoken = [(speaker, _identities(speaker)) for speaker in pulls.speakers(connection, [workspace_id])]
    words = case_registry.words_said(connection, [workspace_id]).get(workspace_id, 0)
    fingerprint = _fingerprint(spoken, words)
    if fingerprint is None:
        return None
    parts = partial(_parts, dsn, workspace_id, spoken, url)
    return IdentitySources(fingerprint, parts, partial(stitch_workspace, dsn, workspace_id))


def _parts(
    dsn: SecretStr | str,
    workspace_id: str,
    spoken: Sequence[tuple[Speaker, Mapping[str, Identity]]],
    url: Callable[[str], str],
) -> list[LinkPart]:
    """The originals of the streams that say something. Of a connector they come in the order of its pulls."""
    found: list[tuple[datetime, LinkPart]] = []
    with as_system(dsn, workspace_id) as connection:
        for speaker, said in spoken:
            for original in pulls.originals(connection, workspace_id, speaker.connector_id, sorted(said)):
                part = LinkPart(
                    connector_id=speaker.connector_id,
                    connector_type=speaker.type,
                    stream=original["stream"],
                    tombstones=original["kind"] == "tombstones",
                    url=url(layout.original_key(workspace_id, original["sha256"])),
                    identity=said[original["stream"]],
                )
                found.append((original["committed_at"], part))
    return [part for _committed, part in sorted(found, key=lambda entry: entry[0])]


def _identities(speaker: Speaker) -> dict[str, Identity]:
    return identities(*shown_source(speaker.type, speaker.config))


def _fingerprint(spoken: Sequence[tuple[Speaker, Mapping[str, Identity]]], words: int) -> str | None:
    told = [
        [speaker.connector_id, {name: said[name].model_dump(mode="json") for name in said}, speaker.newest]
        for speaker, said in spoken
        if said
    ]
    return identity_fingerprint(told, words)
