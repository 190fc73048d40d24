"""Cures of a poisoned model: made, chosen, measured beside their controls, and priced."""
