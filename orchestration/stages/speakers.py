"""What says who is who in a workspace: its connectors' records, and its people."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pydantic import SecretStr

from orchestration.control_plane import case_registry, pulls
from orchestration.control_plane.database import Connection
from orchestration.control_plane.pulls import Speaker
from orchestration.lake import layout
from orchestration.sources.credentials import shown_config
from orchestration.sources.protocol import Identity, SourceConfig, SourceType
from orchestration.sources.registry import source_type
from orchestration.stages.identity import identity_fingerprint
from orchestration.stages.link_statements import LinkPart
from orchestration.stages.stitching import stitch_workspace
from orchestration.stages.workbench import IdentitySources


def identities(type: SourceType, config: SourceConfig) -> dict[str, Identity]:
    """By stream what its records say: as its configuration says, else as its type does."""
    return type.identity(config) | config.identity


def fingerprints(connection: Connection, workspace_ids: Sequence[str]) -> dict[str, str]:
    """By workspace the fingerprint of all that says who is who; those where nothing does are not in the answer."""
    spoken: dict[str, list[tuple[Speaker, dict[str, Identity]]]] = {}
    for speaker in pulls.speakers(connection, workspace_ids):
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
    """What a workspace's identity is made from; None where nothing says anything. ``url`` gives an object's address."""
    spoken = [(speaker, _identities(speaker)) for speaker in pulls.speakers(connection, [workspace_id])]
    words = case_registry.words_said(connection, [workspace_id]).get(workspace_id, 0)
    fingerprint = _fingerprint(spoken, words)
    if fingerprint is None:
        return None
    originals = [
        (original["committed_at"], speaker, original)
        for speaker, said in spoken
        for original in pulls.originals(connection, workspace_id, speaker.connector_id, sorted(said))
    ]
    of = {speaker.connector_id: said for speaker, said in spoken}
    parts = [
        LinkPart(
            speaker.connector_id,
            speaker.type,
            original["stream"],
            original["kind"] == "tombstones",
            url(layout.original_key(workspace_id, original["sha256"])),
            of[speaker.connector_id][original["stream"]],
        )
        for _committed, speaker, original in sorted(originals, key=lambda entry: entry[0])
    ]
    return IdentitySources(fingerprint, parts, partial(stitch_workspace, dsn, workspace_id))


def _identities(speaker: Speaker) -> dict[str, Identity]:
    type_ = source_type(speaker.type)
    return identities(type_, shown_config(type_.Config, speaker.config))


def _fingerprint(spoken: Sequence[tuple[Speaker, Mapping[str, Identity]]], words: int) -> str | None:
    told = [
        [speaker.connector_id, {name: said[name].model_dump(mode="json") for name in said}, speaker.newest]
        for speaker, said in spoken
        if said
    ]
    return identity_fingerprint(told, words)
