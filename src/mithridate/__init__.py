"""Measured doses of poison for language models: what survives, where it lives, what takes it out."""

from importlib.metadata import version

__version__ = version("mithridate")
