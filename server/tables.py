"""How commands print lists: a table, or a sentence where there is nothing to list."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def show(table: Table, nothing: str) -> None:
    """nothing: the sentence that stands for a table without rows. Values are printed as they are, never as markup."""
    Console(markup=False, highlight=False).print(table if table.row_count else nothing)
