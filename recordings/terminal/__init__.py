"""Recorded terminals: chunks with channels as timed pieces, made harmless, played in an emulator.

For SSH and Kubernetes alike (docs/decisions/0011). Pure: views in, text out.
"""
