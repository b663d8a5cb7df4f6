"""What comes in and goes back: payments, refunds, write-offs."""
