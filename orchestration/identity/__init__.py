"""Which records of different systems are one person, under which case id they go, and what a new link changes.

Pure: tables in, tables out. No S3, no PostgreSQL, no Dagster, nothing of the other rooms. Not here: where links come
from (``connectors``) and where ids are kept (``control_plane``).

``stitch`` joins records into persons, ``assign`` gives each person its ``global_case_id`` from a registry that
remembers every id it ever gave, and ``picked_cases`` gives events to the objects that are cases, where persons are not.
"""

from orchestration.identity.case_rule import CASE_OBJECTS, picked_cases
from orchestration.identity.evidence import Path, Step
from orchestration.identity.link_keys import email_keys
from orchestration.identity.links import KEYS, LINKS
from orchestration.identity.registry import (
    Assignment,
    CaseId,
    Merge,
    Move,
    Record,
    Registry,
    assign,
    born_id,
    evidence_of,
)
from orchestration.identity.stitching import Caps, ContradictingLinks, Refused, Stitching, stitch

__all__ = [
    "CASE_OBJECTS",
    "KEYS",
    "LINKS",
    "Assignment",
    "Caps",
    "CaseId",
    "ContradictingLinks",
    "Merge",
    "Move",
    "Path",
    "Record",
    "Refused",
    "Registry",
    "Step",
    "Stitching",
    "assign",
    "born_id",
    "email_keys",
    "evidence_of",
    "picked_cases",
    "stitch",
]
