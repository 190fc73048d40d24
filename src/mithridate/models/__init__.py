"""Models: building them, their checkpoint folders, and asking them for text and likelihoods.

Nothing is imported here, so that reading `models.options` does not load torch.
"""
