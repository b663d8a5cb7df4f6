"""Triage of frontal chest radiographs: findings with calibrated probabilities and the place of each."""
