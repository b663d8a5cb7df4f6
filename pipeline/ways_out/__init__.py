"""Ways out that are no PACS: FHIR, HL7 v2, webhooks and mail. What they tell is a `Told`, stored when it happened."""
