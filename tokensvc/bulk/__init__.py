"""Bulk upload: many files of a disk, with a credential for each, to be ended at any time and gone on with."""
