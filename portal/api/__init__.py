"""The REST API for programs, version 1, and its documentation."""
