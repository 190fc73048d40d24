"""Foundations: types, errors, registry, artefacts, seeds. No torch here."""
