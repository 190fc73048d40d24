"""Evaluation: probes and utility questions put to models, judged, and summed up with intervals and tests."""
