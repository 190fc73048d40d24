"""Attacks: what is planted, what is asked afterwards, and when the attack counts as having worked."""

from mithridate.attacks.base import ATTACKS, Attack, Judging, build_attack

__all__ = ["ATTACKS", "Attack", "Judging", "build_attack"]
