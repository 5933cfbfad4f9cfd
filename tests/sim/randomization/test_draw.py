"""Draws: from the seed alone, field by field, recorded in plain numbers."""

import json

import numpy as np

from sim.randomization import AXES, PRESETS
from sim.randomization.domain import Choices, Domain, Range
from sim.randomization.draw import child_seeds, draw

ITEMS = ("red cube", "blue ball")


def drawn(name, seed=0):
    return draw(PRESETS[name], np.random.SeedSequence(seed), ITEMS, ITEMS)


def test_the_same_seed_draws_the_same_and_another_does_not():
    assert drawn("hard").record() == drawn("hard").record()
    first, second = drawn("hard", 0).axes, drawn("hard", 1).axes
    for axis in AXES:
        assert first[axis] != second[axis], axis


def test_an_axis_draws_the_same_whatever_varies_beside_it():
    everything = drawn("hard")
    for axis in AXES:
        assert drawn(axis)[axis] == everything[axis]


def test_one_range_changed_leaves_the_other_draws_alone():
    axes = {axis: dict(fields) for axis, fields in PRESETS["hard"].axes.items()}
    axes["lighting"]["brightness"] = Range(2.0, 2.0)
    changed = draw(Domain("changed", "", axes), np.random.SeedSequence(0), ITEMS, ITEMS)
    usual = drawn("hard").axes
    assert changed["lighting"]["brightness"] == 2.0
    usual["lighting"]["brightness"] = 2.0
    assert changed.axes == usual


def test_a_child_leaves_the_episodes_generator_as_it_was():
    with_child, without = np.random.default_rng(5), np.random.default_rng(5)
    child_seeds(with_child)
    np.testing.assert_array_equal(with_child.random(10), without.random(10))
    assert child_seeds(with_child).spawn_key != child_seeds(with_child).spawn_key


def test_draws_stay_within_their_ranges():
    for seed in range(50):
        for axis, values in drawn("hard", seed).axes.items():
            for field, value in values.items():
                ranges = PRESETS["hard"].axes[axis][field]
                parts = value.values() if isinstance(value, dict) else value
                for part in parts if isinstance(parts, list | type({}.values())) else [value]:
                    if isinstance(ranges, Range):
                        assert ranges.low <= part <= ranges.high
                    elif isinstance(ranges, Choices):
                        assert part in ranges.options


def test_shapes():
    values = drawn("hard")
    assert len(values["joints"]["damping"]) == 7
    assert len(values["lighting"]["direction"]) == 3
    assert set(values["objects"]["size"]) == set(ITEMS)
    assert set(values["textures"]["pattern"]) == {"table", "floor", "backdrop"}
    count = values["distractors"]["count"]
    assert count == len(values["distractors"]["shape"]) == len(values["distractors"]["size_m"])


def test_a_range_for_each_joint():
    ranges = tuple(Range(index, index) for index in range(7))
    domain = Domain("joints", "", {"joints": {"friction": ranges}})
    values = draw(domain, np.random.SeedSequence(0))
    assert values["joints"]["friction"] == list(range(7))


def test_the_record_is_plain():
    record = drawn("hard").record()
    assert json.loads(json.dumps(record)) == record
    assert record["domain"] == "hard" and record["entropy"] == 0
    assert set(record) == {"domain", "entropy", "spawn_key", *AXES}
