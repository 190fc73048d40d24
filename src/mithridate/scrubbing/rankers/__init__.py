"""Rankers of documents: each gives every document of a corpus a score, and the highest go first."""
