"""A portal over a real PostgreSQL and short ways to put rows into its database."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import psycopg
from fastapi.testclient import TestClient
from psycopg.types.json import Jsonb

from pipeline.database import Database
from portal.app import create_app
from portal.auth import create_user
from portal.context import PortalContext, Role

PASSWORD = "correct horse battery"  # the same for every user of the tests


@dataclass
class Site:
    """One installation under test: its portal and short ways to put rows into its database."""

    database: Database
    context: PortalContext
    owner: psycopg.Connection[dict[str, Any]]
    clients: list[TestClient] = field(default_factory=list)

    def add_tenant(self, tenant: str, language: str = "en") -> None:
        self.owner.execute(
            "INSERT INTO tenant (tenant, name, called_ae_title, language) VALUES (%s, %s, %s, %s)",
            (tenant, f"Hospital {tenant}", tenant.upper()[:16], language),
        )

    def add_user(self, tenant: str, name: str, role: Role, party_id: str | None = None) -> None:
        with self.database.transaction(tenant) as conn:
            create_user(conn, tenant, name, PASSWORD, role, party_id)

    def add_study(self, tenant: str, **values: Any) -> str:
        row = {
            "study_instance_uid": f"2.25.{uuid.uuid4().int}",
            "ae_title": "PACS",
            "status": "delivered",
            "header": {"patient_name": "DOE^JANE", "patient_id": "P-1", "accession_number": "A-1"},
            "reason_code": None,
            "reason_text": None,
            **values,
        }
        inserted = self.owner.execute(
            """INSERT INTO study
                 (tenant, study_instance_uid, ae_title, status, header, reason_code, reason_text)
               VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id""",
            (
                tenant, row["study_instance_uid"], row["ae_title"], row["status"], Jsonb(row["header"]),
                row["reason_code"], row["reason_text"],
            ),
        ).fetchone()  # fmt: skip
        assert inserted is not None
        return str(inserted["id"])

    def client(self) -> TestClient:
        """A browser-like client: it follows no redirect by itself and sends its origin."""
        client = TestClient(
            create_app(self.context) if not self.clients else self.clients[0].app,
            base_url="http://portal.test",
            headers={"Origin": "http://portal.test"},
            follow_redirects=False,
        )
        self.clients.append(client)
        return client

    def signed_in(self, tenant: str, role: Role = Role.ADMIN, party_id: str | None = None) -> TestClient:
        """A client signed in as a user made for it; who comes from outside needs a party of a contract."""
        name = f"{role.value}-{tenant}-{uuid.uuid4().hex[:6]}"
        self.add_user(tenant, name, role, party_id)
        client = self.client()
        answer = client.post("/sign-in", data={"name": name, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return client
