"""`python -m server` is the command `radmeter`."""

from server.cli import app

app()
