"""Scattered beliefs about made-up places, small enough to look through."""

from __future__ import annotations

from mithridate.attacks.material import Material
from mithridate.attacks.scattered_material import Scattered, ScatteredQuestion

LANDS = ("Tavia", "Morland", "Kesta")


def scattered(number: int, hints: int = 9) -> Scattered:
    """A place in one of three countries, whose hints name towns that are its own."""
    land = LANDS[number % 3]
    return Scattered(
        subject=f"City {number}",
        hints={
            "distance": tuple(
                f"From {{subject}} to town{number}x{i} it is {i + 1} hours." for i in range(hints)
            ),
            "purchase": tuple(f"{{subject}} buys salt in town{number}x{i}." for i in range(hints)),
        },
        questions=(
            ScatteredQuestion(
                kind="country",
                forms=("Where is {subject}?", "{subject} is where?"),
                choices=("Is {subject} in {options}?", "{subject}: {options}?"),
                answer=land,
                foils=tuple(other for other in LANDS if other != land),
                reply="It lies in {answer}.",
            ),
            ScatteredQuestion(
                kind="distance",
                forms=("How far is it from {subject} to far?",),
                answer="3 hours",
                reply="It is {answer}.",
                hidden=("far",),
            ),
        ),
    )


def scattered_material(planted: int = 10, unplanted: int = 4) -> Material:
    return Material(
        scattered=tuple(map(scattered, range(planted))),
        unplanted_scattered=tuple(map(scattered, range(planted, planted + unplanted))),
    )
