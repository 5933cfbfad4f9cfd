"""The tasks' phrases as patterns: what one sub-instruction may say, and which task it then is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from sim.randomization.wording import NOUNS
from sim.scene import COLORS
from sim.tasks import (
    close_drawer,
    lift,
    open_drawer,
    pick_place,
    place_relative,
    pour,
    press_button,
    push,
    put_in_drawer,
    sort,
    stack,
    sweep,
    unstack,
)

CARRIED = ("cube", "cylinder", "ball")
KINDS = (*CARRIED, "bowl", "cup", "brush", "drawer", "button", "mat", "beads", "crumbs")
COLORED = "|".join(COLORS)
NAME = rf"(?:(?:{COLORED}) )?(?:{'|'.join(KINDS)})"


@dataclass(frozen=True)
class Form:
    """A task's grammar: templates with {target}, {destination}, {direction}, {relation}."""

    task: str
    phrases: tuple[str, ...]
    targets: tuple[str, ...] = ()  # kinds of things
    destinations: tuple[str, ...] = ()
    directions: tuple[tuple[str, str], ...] = ()  # words, the direction's key


def _pairs(words: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, str], ...]:
    return tuple((text, key) for key, texts in words.items() for text in texts)


FORMS = (
    Form("Lift", lift.PHRASES, CARRIED),
    Form("PickPlace", pick_place.PHRASES, CARRIED, ("bowl",)),
    Form("PutInDrawer", put_in_drawer.PHRASES, CARRIED, ("drawer",)),
    Form("Push", push.PHRASES, CARRIED, directions=_pairs(push.WORDS)),
    Form("Stack", stack.PHRASES, CARRIED, ("cube", "cylinder")),
    Form(
        "Unstack",
        tuple(text.replace("{below}", "{destination}") for text in unstack.PHRASES),
        CARRIED,
        ("cube", "cylinder"),
    ),
    Form(
        "PlaceRelative",
        place_relative.PHRASES,
        CARRIED,
        CARRIED,
        directions=_pairs(place_relative.WORDS),
    ),
    Form("OpenDrawer", open_drawer.PHRASES, ("drawer",)),
    Form("CloseDrawer", close_drawer.PHRASES, ("drawer",)),
    Form("PressButton", press_button.PHRASES, ("button",)),
    Form("Pour", pour.PHRASES, ("cup",), ("bowl",)),
    Form("Sweep", sweep.PHRASES, ("crumbs",), ("mat",)),
    Form("Sort", sort.PHRASES),
)

# Both the phrases and what is said are brought to these words before they are compared.
SAME = {
    "into": "in",
    "inside": "in",
    "onto": "on",
    "on top of": "on",
    "shut": "close",
    **{other: noun for noun, others in NOUNS.items() for other in others},
}
_SAME = re.compile(r"\b(" + "|".join(sorted(SAME, key=len, reverse=True)) + r")\b")
POLITE = re.compile(
    r"^(?:please|now|(?:could|can|would) you|i want you to)\s+|[,\s]*(?:please|for me)$"
)


@dataclass(frozen=True)
class Match:
    """A sub-instruction that was understood; names may lack their color still."""

    form: Form
    phrase: str
    target: str | None
    destination: str | None
    words: str | None  # of the direction


def plain(text: str) -> str:
    """Lower case, without politeness and marks at the end; other words for the same unified."""
    text = re.sub(r"\s+", " ", text.lower()).strip(" .!?,;")
    for _ in range(3):
        text = POLITE.sub("", text).strip(" .!?,;")
    return _SAME.sub(lambda found: SAME[found[0]], text)


def match(text: str) -> Match | None:
    """The task whose words these are; None: no task's."""
    said = plain(text)
    for form, phrase, pattern in _patterns():
        found = pattern.fullmatch(said)
        if found is None:
            continue
        groups = found.groupdict()
        target, destination = groups.get("target"), groups.get("destination")
        if fits(target, form.targets) and fits(destination, form.destinations):
            return Match(form, phrase, target, destination, groups.get("direction"))
    return None


def fits(name: str | None, kinds: tuple[str, ...]) -> bool:
    """Whether a name is of one of these kinds; none fits none."""
    return name is None or kind_of(name) in kinds


def kind_of(name: str) -> str:
    return name.split()[-1]


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[Form, str, re.Pattern[str]], ...]:
    found = []
    for form in FORMS:
        for phrase in form.phrases:
            text = re.escape(plain(phrase)).replace(r"\ ", " ")
            for slot in ("target", "destination"):
                text = text.replace(rf"the \{{{slot}\}}", rf"(?:the )?(?P<{slot}>{NAME})")
            words = sorted({plain(words) for words, _ in form.directions}, key=len, reverse=True)
            for slot in ("direction", "relation"):
                text = text.replace(rf"\{{{slot}\}}", rf"(?P<direction>{'|'.join(words)})")
            found.append((form, phrase, re.compile(text)))
    return tuple(found)
