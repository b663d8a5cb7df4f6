"""From usage to money: usage events, decisions, contracts, pricing, rating, statements, ledger. No DICOM."""
