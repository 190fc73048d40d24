"""Measuring defences: attacks on a corpus, what comes up in spite of them, and what that costs."""
