"""How every command prints: JSON for machines, tables for people."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table


def print_json(value: Any) -> None:
    """JSON on standard output: times as text, letters as they are."""
    typer.echo(json.dumps(value, default=str, indent=2, ensure_ascii=False))


def print_rows(rows: Sequence[Mapping[str, Any]], shown: Sequence[str]) -> None:
    """A table of the columns ``shown``, which are its headings too."""
    table = Table(*(name.replace("_", " ") for name in shown), box=None)
    for row in rows:
        table.add_row(*(cell(row[name]) for name in shown))
    print_table(table)


def print_table(table: Table) -> None:
    """Print a table. Names are people's text: brackets in them are no markup."""
    Console(markup=False, highlight=False).print(table)


def cell(value: Any) -> str:
    """A value as people read it: UTC to the minute, thousands set apart, nothing where there is nothing."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return f"{value:,}" if isinstance(value, int) else str(value)
