"""Reading foreign files: what they are, which column means what, and landing them as raw Parquet by month.

Pure: local files in, local files out. No S3, no PostgreSQL, no Dagster, nothing of the other rooms.

``probe`` looks at a file and proposes a ``Mapping``; ``land`` reads the whole file under a mapping. Both
raise only ``ConnectorError``s, whose messages say what to do.
"""

from orchestration.connectors.archive import Limits, Progress
from orchestration.connectors.classify import REASONS
from orchestration.connectors.columns import LANDED_COLUMNS
from orchestration.connectors.errors import (
    AmbiguousMapping,
    ConnectorError,
    InvalidMapping,
    Question,
    UnreadableFile,
)
from orchestration.connectors.hidden import hide
from orchestration.connectors.landing import Landing, land
from orchestration.connectors.mapping import Hints, Mapping
from orchestration.connectors.probe import Probe, QuarantinePreview, probe
from orchestration.connectors.quarantine import QUARANTINE_SCHEMA
from orchestration.connectors.raw_months import MonthFile
from orchestration.connectors.staging import Flattening
from orchestration.connectors.suggest import Suggestion

__all__ = [
    "LANDED_COLUMNS",
    "QUARANTINE_SCHEMA",
    "REASONS",
    "AmbiguousMapping",
    "ConnectorError",
    "Flattening",
    "Hints",
    "InvalidMapping",
    "Landing",
    "Limits",
    "Mapping",
    "MonthFile",
    "Probe",
    "Progress",
    "QuarantinePreview",
    "Question",
    "Suggestion",
    "UnreadableFile",
    "hide",
    "land",
    "probe",
]
