"""Which roles reach which page: route → roles. A new route fails the tests of isolation until it stands here."""

from __future__ import annotations

STUDIES = {"admin", "operator", "radiologist"}
DICOMWEB = "/dicom-web/studies/{study_instance_uid}"
SERIES = DICOMWEB + "/series/{series_instance_uid}"
INSTANCE = SERIES + "/instances/{sop_instance_uid}"
MONEY = {"admin", "approver", "auditor", "finance"}
EVERYBODY = MONEY | {"hospital", "operator", "radiologist", "referrer", "vendor"}
ROLES_OF = {
    "/account": EVERYBODY,
    "/account/password": EVERYBODY,
    "/account/second-factor": EVERYBODY,
    "/users": {"admin"},
    "/keys": {"admin"},
    "/": {"admin", "radiologist", "operator"},
    "/studies/{study_id}": {"admin", "radiologist", "operator"},
    "/studies/{study_id}/report.pdf": {"admin", "radiologist", "operator", "referrer"},
    "/studies/{study_id}/findings.csv": {"admin", "radiologist", "operator", "referrer"},
    "/studies/{study_id}/images/{name}": {"admin", "radiologist", "operator", "referrer"},
    "/studies/{study_id}/links": {"admin", "radiologist", "operator"},
    "/reports": {"admin", "radiologist", "operator", "referrer"},
    "/reports/{study_id}": {"admin", "radiologist", "operator", "referrer"},
    "/api/v1/studies": {"admin", "radiologist", "operator"},
    "/api/v1/studies/{study_id}": {"admin", "radiologist", "operator"},
    "/api/v1/studies/{study_id}/events": {"admin", "radiologist", "operator"},
    "/api/v1/studies/{study_id}/result": {"admin", "radiologist", "operator"},
    "/upload": {"admin", "radiologist", "operator"},
    "/dicom-web/workitems": {"admin", "radiologist", "operator"},
    "/dicom-web/workitems/{workitem_uid}": {"admin", "radiologist", "operator"},
    "/usage": MONEY,
    "/usage.csv": MONEY,
    "/usage/{ingest_sequence}": MONEY,
    "/statements/{statement_id}/lines/{line_number}": MONEY,
    "/payments": MONEY,
    "/overview": MONEY | {"hospital"},
    "/contracts": MONEY,
    "/contracts/edit": MONEY,
    "/wallets": MONEY,
    "/wallets/{contract_id}/{package}/{owner}": MONEY,
    "/books": MONEY,
    "/books/{month}": MONEY,
    "/reconciliations/{reconciliation_id}": MONEY,
    "/payouts": MONEY | {"vendor"},
    "/payouts/{party_id}": MONEY | {"vendor"},
    "/payouts/statements/{payout_statement_id}": MONEY | {"vendor"},
    "/payouts/statements/{payout_statement_id}.pdf": MONEY | {"vendor"},
    "/statements": MONEY | {"hospital"},
    "/statements/draft": MONEY | {"hospital"},
    "/statements/{statement_id}": MONEY | {"hospital"},
    "/statements/{statement_id}/account": MONEY | {"hospital"},
    "/statements/{statement_id}.pdf": MONEY | {"hospital"},
    "/statements/{statement_id}.csv": MONEY | {"hospital"},
    "/statements/{statement_id}/cases.csv": MONEY | {"hospital"},
    "/statements/{statement_id}.xlsx": MONEY | {"hospital"},
    "/statements/{statement_id}.json": MONEY | {"hospital"},
    "/credit-notes/{credit_note_id}.pdf": MONEY | {"hospital"},
    "/credit-notes/{credit_note_id}.xlsx": MONEY | {"hospital"},
    "/credit-notes/{credit_note_id}.json": MONEY | {"hospital"},
    "/api/v1/usage": MONEY,
    "/api/v1/usage/events": MONEY,
    "/api/v1/statements": MONEY,
    "/api/v1/statements/{statement_id}": MONEY,
    "/audit": {"admin", "operator"},
    "/peers": {"admin", "operator"},
    "/peers/edit": {"admin"},
    "/destinations": {"admin", "operator"},
    "/destinations/edit": {"admin"},
    "/routing": {"admin", "operator"},
    "/routing/edit": {"admin", "operator"},
    "/routing/activate": {"admin"},
    "/models/health": {"admin", "operator"},
    "/models/health/{product}/plot.png": {"admin", "operator"},
    "/models": MONEY | {"radiologist", "operator"},
    "/dicom-web/studies": STUDIES,
    "/dicom-web/series": STUDIES,
    "/dicom-web/instances": STUDIES,
} | {
    path + end: STUDIES
    for path, ends in (
        (DICOMWEB, ("", "/metadata", "/series", "/instances", "/thumbnail")),
        (SERIES, ("", "/metadata", "/instances", "/thumbnail")),
        (INSTANCE, ("", "/metadata", "/rendered", "/thumbnail", "/bulkdata/{element:path}")),
        (INSTANCE + "/frames/{frames}", ("", "/rendered", "/thumbnail")),
    )
    for end in ends
}
