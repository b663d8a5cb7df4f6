"""Settings of services outside that the installation uses: payments, mail, the audit record."""

from __future__ import annotations

from dataclasses import dataclass

from server.setting import SettingsPart, setting


@dataclass(frozen=True)
class OutsideSettings(SettingsPart):
    stripe_api_key: str = setting(
        "",
        "STRIPE_API_KEY",
        "Secret or restricted key of Stripe; empty = Stripe is not used. Stored and logged nowhere.",
        is_secret=True,
    )
    stripe_webhook_secrets: str = setting(
        "",
        "STRIPE_WEBHOOK_SECRETS",
        "Signing secret (whsec_…) of Stripe's messages; two with a comma between while one replaces another.",
        is_secret=True,
    )
    smtp_url: str = setting(
        "",
        "SMTP_URL",
        "Who takes our mails: smtp://user@host (STARTTLS), smtps://…, smtp+plain://…; empty = nobody.",
    )
    smtp_from: str = setting("", "SMTP_FROM", "The address that mails come from.")
    smtp_password: str = setting("", "SMTP_PASSWORD", "Password of that user.", is_secret=True)
    audit_syslog: str = setting(
        "",
        "AUDIT_SYSLOG",
        "Who gets the audit trail by syslog: tls://host:6514 or udp://host:514; empty = nobody.",
    )
