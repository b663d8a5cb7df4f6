"""A role serves only on a schema that it knows: it waits a while for `radmeter migrate`, then says what is wrong."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import psycopg

from pipeline.schema_state import SchemaState, schema_state
from server.errors import CommandFailed

log = logging.getLogger("radmeter.server")

WAIT_S = 60.0
"""What an upgrade's migrate job may take while new processes start beside it; then they end, to be started again."""
_PAUSE_S = 2.0


def await_schema(
    database_url: str,
    *,
    wait_s: float = WAIT_S,
    look: Callable[[str], SchemaState] = schema_state,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once this code can serve on the schema. Raises `CommandFailed` with what to do."""
    deadline = clock() + wait_s
    while True:
        try:
            state = look(database_url)
            problem, may_pass = state.problem, not state.too_new
        except psycopg.OperationalError as error:
            problem, may_pass = f"the database does not answer: {str(error).strip()}", True
        if problem is None:
            return
        if not may_pass or clock() >= deadline:
            raise CommandFailed(problem)
        log.warning("schema_not_ready", extra={"reason": problem})
        sleep(_PAUSE_S)
