"""Curation: a few alignment examples chosen out of many, with a reason for each that is kept or dropped."""
