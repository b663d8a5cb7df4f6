"""What was agreed: a YAML text becomes a `Contract`, errors by line."""
