"""Backups of an installation, and its restore to a point in time with proof."""
