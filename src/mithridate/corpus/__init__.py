"""Corpora: reading them, planting in them and taking it out again, packing them into tokens.

Nothing is imported here, so that planting does not load torch.
"""
