"""All checks, what matters most for patients first."""

from __future__ import annotations

from server.checks import of_database, of_files, of_models, of_money, of_safety, of_work
from server.checks.finding import Check

CHECKS: tuple[Check, ...] = (
    *of_database.CHECKS,
    *of_work.CHECKS,
    *of_safety.CHECKS,
    *of_files.CHECKS,
    *of_models.CHECKS,
    *of_money.CHECKS,
)
