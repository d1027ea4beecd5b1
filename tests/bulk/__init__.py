"""Bulk upload, against a real server that goes wrong."""
