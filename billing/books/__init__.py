"""The journal, the months, their closing and their reports."""
