"""Caller sources: one file for each way to know who asks."""
