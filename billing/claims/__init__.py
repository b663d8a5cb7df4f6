"""What follows a statement: credits, disputes, tax documents, reminders."""
