"""Files of documents: statements as workbook and JSON, credit notes as PDF, workbook and JSON."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from billing.claims import credit_notes
from billing.claims.credit_note_paper import credit_note_paper
from billing.claims.credit_note_record import CreditNote
from billing.statements import document_json, paper_print, paper_xlsx, statement_document
from billing.statements.document_errors import CreditNoteNotFound
from billing.statements.statement_context import context_of
from pipeline.database import Connection
from portal.context import SEES_STATEMENTS, Identity
from portal.pages.statements import StatementId, file_of, issued_for, printing
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Identity, Depends(signed_in(SEES_STATEMENTS))]
CreditNoteId = Annotated[int, Path(ge=1, le=2**63 - 1)]
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
JSON = "application/json"


@router.get("/statements/{statement_id}.xlsx")
def statement_workbook(context: Context, identity: Viewer, statement_id: StatementId) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        found = issued_for(conn, identity, statement_id)
        beside = context_of(conn, found)
    workbook = statement_document.render_xlsx(found, identity.language, beside)
    return file_of(workbook, XLSX, f"{found.number}.xlsx")


@router.get("/statements/{statement_id}.json")
def statement_json(context: Context, identity: Viewer, statement_id: StatementId) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        found = issued_for(conn, identity, statement_id)
        values = document_json.of_statement(found, context_of(conn, found))
    return file_of(document_json.to_bytes(values), JSON, f"{found.number}.json")


@router.get("/credit-notes/{credit_note_id}.pdf")
def credit_note_pdf(context: Context, identity: Viewer, credit_note_id: CreditNoteId) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        note = _note_for(conn, identity, credit_note_id)
    with printing:
        pdf = paper_print.paper_to_pdf(credit_note_paper(note, identity.language))
    return file_of(pdf, "application/pdf", f"{note.number}.pdf")


@router.get("/credit-notes/{credit_note_id}.xlsx")
def credit_note_workbook(context: Context, identity: Viewer, credit_note_id: CreditNoteId) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        note = _note_for(conn, identity, credit_note_id)
    workbook = paper_xlsx.to_xlsx(credit_note_paper(note, identity.language), note.issued_at)
    return file_of(workbook, XLSX, f"{note.number}.xlsx")


@router.get("/credit-notes/{credit_note_id}.json")
def credit_note_json(context: Context, identity: Viewer, credit_note_id: CreditNoteId) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        note = _note_for(conn, identity, credit_note_id)
    return file_of(document_json.to_bytes(document_json.of_credit_note(note)), JSON, f"{note.number}.json")


def _note_for(conn: Connection, identity: Identity, credit_note_id: int) -> CreditNote:
    """Raises `CreditNoteNotFound`, also for another party's, where a person sees the own party alone."""
    note = credit_notes.get_credit_note(conn, identity.tenant, credit_note_id)
    if identity.only_party not in (None, note.buyer.id):
        raise CreditNoteNotFound(f"no credit note {credit_note_id}")
    return note
