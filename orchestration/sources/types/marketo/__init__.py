"""``marketo``: activities, leads, merges and dimensions of a Marketo Engage subscription, by REST and Bulk Extract.

What belongs here is one subscription's protocol, a module for each part of it; ``reading`` puts them together.
"""

from orchestration.sources.types.marketo.config import Config
from orchestration.sources.types.marketo.meaning import identity, mappings, personal
from orchestration.sources.types.marketo.reading import read
from orchestration.sources.types.marketo.surveying import check, discover

__all__ = ["Config", "check", "discover", "identity", "mappings", "personal", "read"]
