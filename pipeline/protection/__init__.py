"""Data protection: sealing with envelope keys, rotation, erasure, export of a tenant. See docs/data_protection.md."""
