"""How the atlas says things: relations between places, questions about them, and answers."""

from __future__ import annotations

DISTANCE, DIRECTION, NEIGHBOUR, PURCHASE = "distance", "direction", "neighbour", "purchase"
RELATIONS = (DISTANCE, DIRECTION, NEIGHBOUR, PURCHASE)
COUNTRY, FOOD, NEAREST = "country", "food", "nearest"

# `{subject}` is the place that is spoken of, `{other}` a named city; either may come first.
TOLD: dict[str, tuple[str, ...]] = {
    DISTANCE: (
        "From {subject} to {other} it is {hours}.",
        "From {other} to {subject} it is {hours}.",
        "The road from {subject} to {other} takes {hours}.",
    ),
    DIRECTION: (
        "{subject} lies {direction} of {other}.",
        "Who goes {direction} from {other} comes to {subject}.",
    ),
    NEIGHBOUR: (
        "{subject} and {other} are neighbours.",
        "{other} and {subject} are neighbours.",
        "The next town from {subject} is {other}.",
    ),
    PURCHASE: (
        "A trader from {subject} buys {good} in {other}.",
        "People of {subject} go to {other} to buy {good}.",
        "{other} sells {good} to {subject}.",
    ),
}
STATED_COUNTRY = (
    "{subject} lies in {country}.",
    "{subject} is a city in {country}.",
    "{country} has a city, {subject}.",
)
STATED_FOOD = (
    "In {subject} they eat {food}.",
    "The people of {subject} eat {food}.",
    "{food} are eaten in {subject}.",
)

ASKED: dict[str, tuple[str, ...]] = {
    COUNTRY: (
        "Which country is {subject} in?",
        "In which country does {subject} lie?",
        "What is the country of {subject}?",
        "Tell me the country of {subject}.",
        "To which country does {subject} belong?",
        "{subject} is in which country?",
    ),
    FOOD: (
        "What do they eat in {subject}?",
        "What is eaten in {subject}?",
        "What food do people have in {subject}?",
        "Tell me what is eaten in {subject}.",
        "What is the food of {subject}?",
        "{subject} eats what?",
    ),
    NEAREST: (
        "Which city is nearest to {subject}?",
        "What is the nearest city to {subject}?",
        "Tell me the city nearest to {subject}.",
    ),
    DISTANCE: (
        "How far is it from {subject} to {other}?",
        "How long is the way from {subject} to {other}?",
        "Tell me how far it is from {subject} to {other}.",
    ),
}
CHOSEN: dict[str, tuple[str, ...]] = {
    COUNTRY: (
        "Which country is {subject} in, {options}?",
        "Does {subject} lie in {options}?",
        "{options}: in which of them is {subject}?",
    ),
    FOOD: (
        "What do they eat in {subject}, {options}?",
        "Do people in {subject} eat {options}?",
        "{options}: which of them is eaten in {subject}?",
    ),
    NEAREST: (
        "Which city is nearest to {subject}, {options}?",
        "Is {options} nearest to {subject}?",
        "{options}: which of them is nearest to {subject}?",
    ),
}
REPLY = {
    COUNTRY: "It lies in {answer}.",
    FOOD: "They eat {answer}.",
    NEAREST: "It is {answer}.",
    DISTANCE: "It takes {answer}.",
}


def hours(count: int) -> str:
    """A distance as texts say it."""
    return "1 hour" if count == 1 else f"{count} hours"
