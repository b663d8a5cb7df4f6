"""Lungs and their five lobes on chest CT."""
