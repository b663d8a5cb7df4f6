"""The path of a study, made durable."""
