"""What worker, portal and commands make of the settings alike. Not in `wiring`: that brings everything of a worker."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from inference.choose import engine_problem
from pipeline.errors import MailServerInvalid
from pipeline.ways_out.send_mail import MailServer
from server.errors import SettingInvalid
from server.metrics import open_circuits
from server.settings import Settings


def mail_server(settings: Settings) -> MailServer | None:
    """Who takes our mails, None where nobody does. Raises `SettingInvalid`."""
    if not settings.smtp_url:
        return None
    try:
        return MailServer(settings.smtp_url, settings.smtp_from, settings.smtp_password)
    except MailServerInvalid as error:
        raise SettingInvalid("smtp_url", settings.smtp_url, str(error)) from None


def inference_problem(settings: Settings, registry: CollectorRegistry) -> str | None:
    """Why models do not run now, as far as it is known without running one; None when nothing is known against it."""
    problem = engine_problem(settings.engine_choice)
    failing = open_circuits(registry)
    if problem is None and failing:
        return (
            f"{' and '.join(failing)} failed several times: the log lines “inference_circuit_opened” say how"
        )
    return problem
