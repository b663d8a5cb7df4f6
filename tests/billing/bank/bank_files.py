"""Files as banks write them, around lines that a test gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

OURS = "DE02120300000000202051"
THEIRS = "DE89370400440532013000"


@dataclass(frozen=True)
class Booking:
    """amount: major units as text, negative where money left. e2e, reference: the payer's and the bank's id."""

    amount: str
    text: str = ""
    day: str = "2026-12-10"
    account: str = THEIRS
    name: str = "Demo Hospital"
    e2e: str = ""
    reference: str = ""
    charges: str = ""
    is_return: bool = False


def camt(bookings: Sequence[Booking], currency: str = "CNY", closing: str | None = None) -> bytes:
    """A camt.053.001.08 with one entry for each booking and both balances."""
    total = sum((Decimal(one.amount) for one in bookings), Decimal("1000.00"))
    entries = "".join(_entry(one, currency) for one in bookings)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>
<GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-12-11T01:00:00</CreDtTm></GrpHdr>
<Stmt><Id>S1</Id><Acct><Id><IBAN>{OURS}</IBAN></Id></Acct>
{_balance("OPBD", "1000.00", currency)}{_balance("CLBD", closing or str(total), currency)}
{entries}</Stmt></BkToCstmrStmt></Document>""".encode()


def _balance(code: str, amount: str, currency: str) -> str:
    side = "DBIT" if amount.startswith("-") else "CRDT"
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy='{currency}'>{amount.lstrip('-')}</Amt>"
        f"<CdtDbtInd>{side}</CdtDbtInd><Dt><Dt>2026-12-10</Dt></Dt></Bal>"
    )


def _entry(one: Booking, currency: str) -> str:
    side, party = ("DBIT", "Cdtr") if one.amount.startswith("-") else ("CRDT", "Dbtr")
    amount = one.amount.lstrip("-")
    returned = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>" if one.is_return else ""
    charges = (
        f"<Chrgs><TtlChrgsAndTaxAmt Ccy='{currency}'>{one.charges}</TtlChrgsAndTaxAmt></Chrgs>"
        if one.charges
        else ""
    )
    # The instructed amount stands first and in another currency: whoever takes the first Amt is wrong.
    return f"""<Ntry><Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>{side}</CdtDbtInd>
<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{one.day}</Dt></BookgDt><ValDt><Dt>{one.day}</Dt></ValDt>
<AcctSvcrRef>{one.reference}</AcctSvcrRef><BkTxCd><Domn><Cd>PMNT</Cd></Domn></BkTxCd>
<NtryDtls><TxDtls><Refs><EndToEndId>{one.e2e or "NOTPROVIDED"}</EndToEndId></Refs>
<AmtDtls><InstdAmt><Amt Ccy="USD">1.00</Amt></InstdAmt></AmtDtls>{charges}
<RltdPties><{party}><Pty><Nm>{one.name}</Nm></Pty></{party}>
<{party}Acct><Id><IBAN>{one.account}</IBAN></Id></{party}Acct></RltdPties>
<RmtInf><Ustrd>{one.text}</Ustrd></RmtInf>{returned}</TxDtls></NtryDtls></Ntry>"""


def mt940(bookings: Sequence[Booking], currency: str = "EUR") -> bytes:
    """An MT940 in the structured form of German banks."""
    total = sum((Decimal(one.amount) for one in bookings), Decimal("1000.00"))
    lines = [":20:STARTUMS", f":25:{OURS}", ":28C:00001/001", f":60F:C261130{currency}1000,00"]
    for one in bookings:
        side = ("RC" if one.is_return else "D") if one.amount.startswith("-") else "C"
        amount = one.amount.lstrip("-").replace(".", ",")
        day = one.day[2:].replace("-", "")
        lines.append(f":61:{day}{day[2:]}{side}{currency[2]}{amount}NTRFNONREF//{one.reference or 'NONREF'}")
        pieces = [one.text[i : i + 27] for i in range(0, len(one.text), 27)] or [""]
        fields = [f"EREF+{one.e2e}"] if one.e2e else []
        fields += [f"SVWZ+{pieces[0]}", *pieces[1:]]
        text = "".join(f"?{20 + i}{piece}" for i, piece in enumerate(fields))
        lines.append(f":86:166?00GUTSCHRIFT{text}?30COBADEFF?31{one.account}?32{one.name}")
    lines += [f":62F:C261231{currency}{str(total).replace('.', ',')}", "-", ""]
    return "\r\n".join(lines).encode("cp1252")
