"""Filters of an analysis: which cases of an event log it is about, as checked data and as SQL with bound parameters."""

from orchestration.mining.filters.model import Filter, Filters
from orchestration.mining.filters.sql import Selection, select_cases
from orchestration.mining.filters.vocabulary import Mention, Sort, mentions

__all__ = ["Filter", "Filters", "Mention", "Selection", "Sort", "mentions", "select_cases"]
