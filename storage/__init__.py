"""Where objects lie for good: a folder, or S3; see README.md."""
