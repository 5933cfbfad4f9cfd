"""Ranges: presets hold every axis, files override them, and nonsense is refused by name."""

import math
from pathlib import Path

import numpy as np
import pytest

from sim.randomization import AXES, PRESETS, Domain, DomainError, load_domain
from sim.randomization.domain import Chance, Choices, Range, parse

ROOT = Path(__file__).resolve().parents[3]


def write(folder, text):
    path = folder / "ranges.yaml"
    path.write_text(text)
    return str(path)


def test_presets():
    assert set(PRESETS) == {"nominal", "train", "hard", *AXES}
    assert not PRESETS["nominal"]
    for name in ("train", "hard"):
        for axis, row in AXES.items():
            assert set(PRESETS[name].axes[axis]) == set(row.fields)
    for axis in AXES:
        assert PRESETS[axis].axes == {axis: PRESETS["hard"].axes[axis]}


def test_train_lies_within_hard_where_it_is_about_the_world():
    """Noise, delays and counts begin higher in `hard`; the rest of it holds all of `train`."""
    begins_higher = {"sensors", "latency", "observation", "distractors", "wording"}
    for axis in set(AXES) - begins_higher:
        for field, hard in PRESETS["hard"].axes[axis].items():
            train = PRESETS["train"].axes[axis][field]
            if isinstance(train, Range) and field != "contrast":
                assert hard.low <= train.low and train.high <= hard.high, (axis, field)


def test_the_file_that_ships_is_a_later_and_softer_arm_in_the_world_of_train():
    domain = load_domain(str(ROOT / "config/randomization/slow_arm.yaml"))
    train = PRESETS["train"].axes
    changed = {axis for axis in train if domain.axes[axis] != train[axis]}
    assert changed == {"latency", "observation", "joints", "actuators"}
    for axis in changed:
        for field, wide in domain.axes[axis].items():
            narrow = train[axis][field]
            if isinstance(narrow, Range):
                assert wide.low <= narrow.low and narrow.high <= wide.high, (axis, field)


def test_a_file_overrides_a_preset(tmp_path):
    path = write(
        tmp_path,
        "about: our arm\nbase: train\naxes:\n"
        "  latency: {delay_ms: [30, 50]}\n"
        "  joints:\n"
        "    damping: {low: 0.8, high: 1.2, distribution: normal, unit: 1}\n"
        "    friction: [[0, 1], [0, 2], [0, 3], [0, 4], [0, 5], [0, 6], [0, 7]]\n"
        "  lighting: {shadows: 0.5}\n"
        "  textures: {pattern: [plain, noise]}\n"
        "  wording: off\n"
        "  camera:\n",
    )
    domain = load_domain(path)
    assert (domain.name, domain.about) == (path, "our arm")
    assert domain.axes["latency"]["delay_ms"] == Range(30, 50)
    assert domain.axes["latency"]["jitter_ms"] == PRESETS["train"].axes["latency"]["jitter_ms"]
    assert domain.axes["joints"]["damping"] == Range(0.8, 1.2, "normal")
    assert domain.axes["joints"]["friction"][6] == Range(0, 7)
    assert domain.axes["lighting"]["shadows"] == Chance(0.5)
    assert domain.axes["textures"]["pattern"] == Choices(("plain", "noise"))
    assert set(AXES) - set(domain.axes) == {"wording", "camera"}


def test_a_file_may_hold_one_field_alone(tmp_path):
    domain = load_domain(write(tmp_path, "axes: {actuators: {stiffness: [0.9, 0.95]}}"))
    assert domain.axes == {"actuators": {"stiffness": Range(0.9, 0.95)}}


def test_what_a_domain_says_of_itself_is_a_file_again(tmp_path):
    import yaml

    text = yaml.safe_dump({"axes": PRESETS["hard"].ranges()})
    assert load_domain(write(tmp_path, text)).axes == PRESETS["hard"].axes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("axes: {latency: {delay_ms: [50, 30]}}", "latency.delay_ms: low 50 is above high 30"),
        ("axes: {lightning: {}}", "axis: expected one of lighting, .*do you mean lighting"),
        (
            "axes: {latency: {delay_s: [0, 0.1]}}",
            "latency: field: expected one of delay_ms, jitter_ms, got 'delay_s'",
        ),
        (
            "axes: {latency: {delay_ms: {low: 0, high: 0.1, unit: s}}}",
            "latency.delay_ms: unit: expected 'ms', got 's'",
        ),
        ("axes: {latency: {delay_ms: [0, 5000]}}", "expected 0 to 1000 in ms, got 0 to 5000"),
        ("axes: {latency: {delay_ms: [0]}}", r"expected \[low, high\] in ms, got \[0\]"),
        ("axes: {latency: {delay_ms: 5}}", r"expected \[low, high\] in ms, got 5"),
        ("axes: {latency: {delay_ms: [a, b]}}", r"expected \[low, high\] in ms"),
        ("axes: {latency: {delay_ms: [true, false]}}", r"expected \[low, high\] in ms"),
        ("axes: {latency: {delay_ms: [0, .inf]}}", "expected finite numbers"),
        ("axes: {latency: {delay_ms: [.nan, 1]}}", "expected finite numbers"),
        (
            "axes: {objects: {mass: {low: 1, high: 2, distribution: beta}}}",
            "objects.mass: distribution: expected one of uniform, log-uniform, normal, got 'beta'",
        ),
        (
            "axes: {joints: {damping: {low: 0, high: 2, distribution: log-uniform}}}",
            "log-uniform needs a low above 0, got 0",
        ),
        (
            "axes: {joints: {damping: [[0.5, 1], [0.5, 1]]}}",
            "joints.damping: expected one range, or 7; got 2",
        ),
        ("axes: {table: {height_m: [[0, 0], [0, 0]]}}", r"expected \[low, high\] in m"),
        ("axes: {table: {height_m: {low: 0, hi: 1}}}", "key: expected one of low, high"),
        ("axes: {lighting: {shadows: 2}}", "expected a share from 0 to 1, got 2"),
        ("axes: {lighting: {shadows: true}}", "expected a share from 0 to 1, got True"),
        ("axes: {textures: {pattern: [tartan]}}", "expected some of plain, checker"),
        ("axes: {textures: {pattern: []}}", "expected some of plain, checker"),
        ("axes: {textures: {pattern: 3}}", "expected some of plain, checker"),
        ("base: train\naxes: {distractors: {count: [0.5, 2]}}", "expected whole numbers"),
        ("axes: {distractors: {count: [1, 2]}}", "distractors: color, shape, size_m missing"),
        ("axes: {camera: [1, 2]}", r"camera: expected a mapping of fields, or off; got \[1, 2\]"),
        ("base: easy\naxes: {}", "base: expected one of nominal, train, hard"),
        ("axis: {}", "key: expected one of about, base, axes, got 'axis'; do you mean axes"),
        ("base: train", "axes: expected a mapping of axes, got None"),
        ("[1, 2]", "expected a mapping with the keys base and axes"),
        ("axes: {latency: {}, latency: {}}", "the key 'latency' stands twice"),
        ("axes: &a {latency: {delay_ms: *a}}", r"latency.delay_ms: key: expected one of low"),
        ("axes: {latency: [", "not YAML"),
        ("axes: !!python/object/apply:os.system [ls]", "not YAML"),
    ],
)
def test_nonsense_is_refused(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(DomainError, match=message) as caught:
        load_domain(path)
    assert path in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_names_and_files(tmp_path):
    with pytest.raises(DomainError, match=r"expected one of nominal, train, hard, .*got 'easy'"):
        load_domain("easy")
    with pytest.raises(DomainError, match="cannot read .*none.yaml: No such file"):
        load_domain(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("ranges", "middle"),
    [
        (Range(1.0, 3.0), 2.0),
        (Range(1.0, 4.0, "log-uniform"), 2.0),
        (Range(1.0, 3.0, "normal"), 2.0),
        (Range(2.0, 2.0, "normal"), 2.0),
        (Range(1, 3, integer=True), 2),
    ],
)
def test_draws_fill_the_range(ranges, middle):
    rng = np.random.default_rng(0)
    draws = np.array([ranges.draw(rng) for _ in range(4000)])
    assert draws.min() >= ranges.low and draws.max() <= ranges.high
    assert np.median(draws) == pytest.approx(middle, rel=0.05)
    if ranges.integer:
        assert set(draws) == {1, 2, 3}


def test_a_normal_range_holds_95_percent():
    """Its standard deviation, cut off at the ends: 0.88 of that of the whole distribution."""
    rng = np.random.default_rng(1)
    draws = [Range(-1.96, 1.96, "normal").draw(rng) for _ in range(8000)]
    assert np.std(draws) == pytest.approx(0.87, abs=0.02)


def test_every_default_range_is_within_what_is_allowed():
    for axis, row in AXES.items():
        for name, field in row.fields.items():
            for level in (field.train, field.hard):
                given = list(level) if isinstance(level, tuple) else level
                parse(field, given)  # raises where not
            assert field.unit in ("1", "m", "deg", "rad", "px", "ms"), (axis, name)
            suffix = f"_{field.unit}"
            assert field.unit == "1" or name.endswith(suffix), f"{axis}.{name} lacks {suffix}"


def test_domains_are_told_apart():
    assert isinstance(PRESETS["train"], Domain)
    assert PRESETS["train"].restricted_to(["table"]).axes.keys() == {"table"}
    assert not PRESETS["train"].restricted_to([])
    assert math.isclose(PRESETS["train"].axes["table"]["height_m"].high, 0.01)
