"""What happened: events recorded once and decided once."""
