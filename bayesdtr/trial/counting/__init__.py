"""Trials of exchangeable patients, simulated by counts."""
