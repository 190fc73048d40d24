"""Localization: what alignment moved, in the weights and in the tokens that a model writes."""
