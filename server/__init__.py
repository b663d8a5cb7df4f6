"""Packages into processes."""
