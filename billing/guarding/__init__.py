"""What may run, and what was paid first: limits, prepaid packages, forecasts, bounds of safety."""
