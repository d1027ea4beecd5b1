"""Bulk upload: many files of a disk, each with a credential of its own; to be ended at any time, and gone on with.

An answer that is lost says nothing of the upload. So a file is sent under its own name and never onto another: when it
is sent again, the endpoint says that it has it.
"""
