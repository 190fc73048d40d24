"""Intervention: what takes a planted behaviour out of a model, for a while or for good."""
