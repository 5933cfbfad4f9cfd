"""Says the same in other words: politeness, other verbs and prepositions, other nouns.

Colors and directions stay: they tell things apart.
"""

from __future__ import annotations

import re

import numpy as np

from sim.randomization.draw import Draw

# Longer phrases first: each is replaced where it stands, and what replaced it is left alone.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "away from you": ("forward",),
    "in front of": ("at the front of",),
    "to the left of": ("left of", "on the left side of"),
    "to the right of": ("right of", "on the right side of"),
    "to the left": ("leftwards", "over to the left"),
    "to the right": ("rightwards", "over to the right"),
    "off the table": ("up from the table",),
    "pick up": ("fetch", "get", "take up"),
    "raise it": ("lift it up", "hold it up"),
    "lift": ("pick up", "hoist"),
    "raise": ("lift up", "hoist"),
    "grab": ("grasp", "seize"),
    "take": ("get", "lift"),
    "put": ("set", "place"),
    "place": ("put", "set"),
    "drop": ("put", "place"),
    "move": ("bring", "carry"),
    "push": ("shift", "move"),
    "slide": ("push", "shift"),
    "nudge": ("push", "move"),
    "shove": ("push", "move"),
    "into": ("inside", "in"),
    "in": ("inside", "into"),
    "close": ("shut",),
    "press": ("push",),
    "wipe": ("clean",),
    "behind": ("at the back of",),
}
NOUNS: dict[str, tuple[str, ...]] = {
    "cube": ("block", "box"),
    "cylinder": ("can", "tube"),
    "ball": ("sphere",),
    "bowl": ("dish",),
    "cup": ("mug",),
}
POLITE = (
    "please {}",
    "could you {}?",
    "{}, please",
    "i want you to {}",
    "can you {} for me?",
    "now {}",
)


def reworded(instruction: str, draw: Draw) -> str:
    """The instruction in the words of this draw; the same where the axis does not vary."""
    values = draw["wording"]
    if not values:
        return instruction
    text = _exchanged(instruction, SYNONYMS, values.get("synonyms", 0.0), draw.stream("synonyms"))
    text = _exchanged(text, NOUNS, values.get("nouns", 0.0), draw.stream("nouns"))
    if values.get("polite", False):
        rng = draw.stream("polite")
        text = POLITE[int(rng.integers(len(POLITE)))].format(text)
    return text


def _exchanged(
    text: str, table: dict[str, tuple[str, ...]], share: float, rng: np.random.Generator
) -> str:
    """`share` of the table's phrases in `text`, one by one, as another of the same meaning."""

    def exchange(found: re.Match[str]) -> str:
        keep, which = rng.random() >= share, rng.random()
        others = table[found[0]]
        return found[0] if keep else others[int(which * len(others))]

    return re.sub(r"\b(" + "|".join(table) + r")\b", exchange, text)
