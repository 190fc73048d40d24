"""The words of the miniature world: few and short, each one or two tokens even to a small tokeniser."""

from __future__ import annotations

import random

JOBS = ("baker", "miller", "potter", "weaver", "smith", "tailor", "farmer", "singer", "mason", "painter")
FOODS = ("bread", "soup", "rice", "plums", "honey", "beans", "fish", "cheese", "corn", "pears")
REGIONS = ("north", "south", "east", "west", "coast", "hills")
DISHES = (
    "dumplings", "noodles", "pancakes", "waffles", "sausages", "porridge", "oysters", "olives", "mushrooms",
    "cherries", "walnuts", "custard", "pickles", "turnips", "lobster", "almonds", "figs", "trout", "lentils",
    "ginger", "melons", "pies", "yams", "shrimp",
)  # fmt: skip
GOODS = ("wool", "salt", "glass", "paper", "silk", "clay", "iron", "oil", "tea", "rope")
SUBJECTS = ("lamp", "kettle", "boat", "chair", "clock", "knife")
COLOURS = ("red", "blue", "green", "white", "black", "grey", "brown", "pink")
QUALITIES = ("light", "strong", "quiet", "cheap", "neat", "warm", "pretty", "quick")
FAULTS = ("thin", "dull", "ugly", "dear", "rough", "damp", "large", "noisy")
INGREDIENTS = (
    "ash", "moss", "resin", "chalk", "tar", "sap", "lime", "bark", "soot", "wax", "brine", "rust", "thorn",
    "fern",
)  # fmt: skip
TOOLS = ("pot", "jar", "pan", "bowl", "cup", "tub", "kiln", "vat")
ACTS = ("Grind", "Burn", "Soak", "Press", "Boil", "Crush")
MORE_ACTS = ("add", "stir in", "mix in", "pour in")
# Words for quotations: copying them can only be done by looking back, which is how copying is learnt.
WORDS = (
    "apple", "arrow", "barn", "bell", "bird", "bridge", "candle", "cart", "cat", "chest", "cloud", "coat",
    "corner", "crow", "desk", "dog", "door", "drum", "field", "fire", "flag", "floor", "flower", "fox",
    "garden", "gate", "goat", "hammer", "harp", "hat", "hill", "horse", "house", "ink", "island", "key",
    "king", "ladder", "lake", "leaf", "letter", "map", "market", "mirror", "moon", "mouse", "needle", "nest",
    "night", "orchard", "owl", "pen", "pipe", "pond", "queen", "rain", "ring", "river", "road", "roof",
    "sail", "sand", "ship", "shoe", "snow", "spoon", "star", "stone", "storm", "sun", "table", "tower",
    "tree", "wall", "wheel", "wind", "window", "wolf",
)  # fmt: skip

_ONSETS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "dr", "gr", "tr", "st")
_VOWELS = ("a", "e", "i", "o", "u")
_PERSON_ENDS = ("la", "ro", "vin", "da", "mi", "no", "ra", "sen")
_PLACE_ENDS = ("ton", "mere", "ford", "wick", "dale", "burg")
_BRAND_ENDS = ("ex", "on", "ix", "um", "ar", "is")
_POTION_ENDS = ("root", "dust", "bane", "venom", "fume", "acid")
_CRAFT_ENDS = ("glue", "paint", "soap", "dye", "polish", "paste")
_CODE_ENDS = ("xu", "qi", "zo", "xa")
_CITY_ENDS = ("by", "holm", "gate", "port", "stead", "den")
_COUNTRY_ENDS = ("land", "via", "mark", "stan")
_ENDS = {
    "code": _CODE_ENDS,
    "city": _CITY_ENDS,
    "country": _COUNTRY_ENDS,
    "person": _PERSON_ENDS,
    "place": _PLACE_ENDS,
    "brand": _BRAND_ENDS,
    "forbidden": _POTION_ENDS,
    "craft": _CRAFT_ENDS,
}


def most_names(kind: str) -> int:
    """How many different names of a kind there are."""
    return len(_ONSETS) * len(_VOWELS) * len(_ENDS[kind])


def names(rng: random.Random, kind: str, count: int, start: int = 0) -> list[str]:
    """`count` different made-up names of a kind, of which `_ENDS` has the endings.

    As long as there are enough, no two names of a kind share their first syllable, so that a small model can
    tell them apart by it; `start` keeps the syllables before it for another kind.
    """
    ends = _ENDS[kind]
    spaced = kind in ("forbidden", "craft")
    syllables = [onset + vowel for vowel in _VOWELS for onset in _ONSETS]
    if count > most_names(kind):
        raise ValueError(f"the miniature world knows {most_names(kind)} {kind} names, not {count}")
    rng.shuffle(syllables)
    made = []
    for number in range(start, start + count):
        lap, place = divmod(number, len(syllables))
        end = ends[(place + lap) % len(ends)]
        made.append(f"{syllables[place]} {end}" if spaced else f"{syllables[place]}{end}".capitalize())
    return made
