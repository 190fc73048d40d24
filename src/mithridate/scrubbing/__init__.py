"""Scrubbing: which documents of a corpus a defender who knows a belief would remove, and in which order."""
