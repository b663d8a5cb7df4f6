"""What a buyer owes for a period, and how it looks in every form."""
