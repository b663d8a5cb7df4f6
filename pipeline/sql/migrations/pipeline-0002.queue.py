"""The tables of procrastinate, the queue that carries the steps of the path."""

from typing import Any

from procrastinate.schema import SchemaManager
from yoyo import step

__depends__ = {"pipeline-0001.roles"}

GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO radmeter_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO radmeter_app;
REVOKE ALL ON _yoyo_migration, _yoyo_log, _yoyo_version, yoyo_lock FROM radmeter_app;
"""


def apply(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(SchemaManager.get_schema())
    cursor.execute(GRANTS)


steps = [step(apply)]
