"""Names of columns: unique without regard to case, and apart from the names that landing adds."""

from collections.abc import Iterable

LANDED_COLUMNS = (
    "_row_number",
    "_timestamp",
    "_start_timestamp",
    "_case_id",
    "_activity",
    "_resource_id",
    "_role",
    "_org_unit",
    "_lifecycle",
    "_order_key",
    "_record_key",
)
"""Columns that landing writes beside those of the source."""

_RESERVED = (*LANDED_COLUMNS, "_month", "_reason", "_field", "_value", "_local_twice")


class ColumnNames:
    """Gives each source column the name that it lands under: its own, where that is free."""

    def __init__(self) -> None:
        """Start with the names taken that the tables need for themselves."""
        self._taken = {name.casefold() for name in _RESERVED}
        self.warnings: list[str] = []

    def add(self, name: str, position: int) -> str:
        """The free name for the source column ``name`` at the 1-based ``position``."""
        wanted = name if name.strip() else f"column_{position}"
        free, attempt = wanted, 1
        while free.casefold() in self._taken:
            attempt += 1
            free = f"{wanted}__{attempt}"
        self._taken.add(free.casefold())
        if not name.strip():
            self.warnings.append(f"Column {position} has no name; it is called {free!r}.")
        elif free != name:
            self.warnings.append(f"Column {position}: the name {name!r} is taken; it is called {free!r}.")
        return free

    def add_all(self, names: Iterable[str]) -> tuple[str, ...]:
        """The free names of the columns in their order."""
        return tuple(self.add(name, position) for position, name in enumerate(names, start=1))
