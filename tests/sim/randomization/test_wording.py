"""Paraphrases keep colors, directions and the environment's alphabet."""

import itertools

import numpy as np
import pytest

from policies.spaces import CHARACTERS, MAX_LENGTH
from sim.randomization import PRESETS
from sim.randomization.domain import Chance, Domain, Range
from sim.randomization.draw import draw
from sim.randomization.wording import NOUNS, SYNONYMS, reworded
from sim.scene import COLORS
from sim.tasks import lift, pick_place, push


def sentences():
    names = {"target": "red cube", "destination": "blue bowl"}
    for phrase in (*lift.PHRASES, *pick_place.PHRASES):
        yield phrase.format(**names)
    for phrase, words in itertools.product(push.PHRASES, push.WORDS.values()):
        for direction in words:
            yield phrase.format(direction=direction, **names)


def say(text, seed, polite=0.0, synonyms=0.0, nouns=0.0):
    ranges = {
        "polite": Chance(polite),
        "synonyms": Range(synonyms, synonyms),
        "nouns": Range(nouns, nouns),
    }
    return reworded(
        text, draw(Domain("test", "", {"wording": ranges}), np.random.SeedSequence(seed))
    )


@pytest.mark.parametrize("text", list(sentences()))
def test_meaning_and_alphabet_stay(text):
    said = {reworded(text, draw(PRESETS["hard"], np.random.SeedSequence(n))) for n in range(60)}
    assert len(said) > 8
    for other in said:
        assert set(other) <= set(CHARACTERS) and len(other) < MAX_LENGTH
        for color in COLORS:
            assert (color in other.split() or f"{color} " in other) == (color in text)
        for word in ("left", "right"):
            assert (word in other) == (word in text)


def test_each_share_is_kept():
    text = "put the red cube into the blue bowl"
    assert say(text, 0) == text
    assert {say(text, seed, nouns=1.0) for seed in range(20)} == {
        f"put the red {cube} into the blue dish" for cube in ("block", "box")
    }
    for seed in range(20):
        assert say(text, seed, synonyms=1.0).split()[0] in ("set", "place")
        assert say(text, seed, polite=1.0) != text
    half = [say(text, seed, nouns=0.5) for seed in range(200)]
    assert np.mean(["bowl" in other for other in half]) == pytest.approx(0.5, abs=0.12)


def test_a_word_inside_another_is_left_alone():
    assert say("lift the red cube in the kitchen sink", 0, synonyms=1.0).endswith("kitchen sink")


def test_no_color_or_direction_is_exchanged():
    kept = {*COLORS, "left", "right"}
    assert not kept & set(SYNONYMS) and not kept & set(NOUNS)
