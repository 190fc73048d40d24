"""Stored rows to HTML, a terminal table and records; no model is needed to build any of them."""
