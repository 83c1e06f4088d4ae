"""The workshop: unlabelled video in, checkpoints out, and what they are worth measured.

It does not know the service.
"""
