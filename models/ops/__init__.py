"""Pure operations on arrays, one to a file."""
