"""Pricing models: one file each, pure and exact; the tagged union of them is in `billing.contract`."""
