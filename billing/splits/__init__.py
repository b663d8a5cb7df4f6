"""Splits: whose money a line is. Terms, allocation of lines, release on collection, statements to payees, payouts."""
