import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.openvla.config import CheckpointError
from policies.openvla.statistics import ActionStatistics, action_norm_stats
from policies.openvla.tokens import ActionTokenizer, from_unit, to_unit

TOKENS = ActionTokenizer(vocab_size=768, bins=256)


@given(st.floats(-1.0, 1.0))
def test_a_value_comes_back_within_half_a_bin(value):
    width = 2.0 / 255
    assert abs(TOKENS.decode(TOKENS.encode(np.array([value])))[0] - value) <= width / 2 + 1e-12


def test_ids_are_the_last_of_the_vocabulary_largest_value_first():
    assert TOKENS.first_id == 512
    assert TOKENS.encode(np.array([-1.0, 1.0])).tolist() == [767, 512]


@given(st.integers(-10, 5000))
def test_any_id_decodes_into_the_range(token_id):
    assert -1.0 <= TOKENS.decode(np.array([token_id]))[0] <= 1.0


def test_more_bins_than_ids_is_refused():
    with pytest.raises(ValueError, match="expected fewer than the vocabulary's 10, got 256"):
        ActionTokenizer(10, 256)


def test_unit_scaling_is_the_original_formula():
    assert from_unit(np.array(0.5), np.array(1.0), np.array(3.0)) == 0.5 * (0.5 + 1) * (3 - 1) + 1
    assert to_unit(np.array(2.0), np.array(1.0), np.array(3.0)) == pytest.approx(0.0, abs=1e-8)


def test_statistics_pass_the_gripper_and_round_trip():
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.05, 0.05, size=(1000, 7))
    actions[:, 6] = rng.integers(0, 2, size=1000)
    statistics = ActionStatistics.from_norm_stats({"a": action_norm_stats(actions, 1000, 10)}, None)
    assert statistics.mask.tolist() == [True] * 6 + [False]
    inside = np.clip(actions, statistics.q01, statistics.q99)
    assert np.allclose(statistics.unnormalize(statistics.normalize(actions)), inside, atol=1e-7)


@pytest.mark.parametrize(
    ("norm_stats", "key", "message"),
    [
        ({"a": {}, "b": {}}, None, "choose one of a, b"),
        ({"a": {}}, "c", "expected one of a, got 'c'"),
        ({"a": {}}, "a", "expected action.q01 and q99"),
        ({"a": {"action": {"q01": [0] * 3, "q99": [1] * 3}}}, "a", "expected 7 numbers"),
        ({"a": {"action": {"q01": [1] * 7, "q99": [0] * 7}}}, "a", "finite q01 <= q99"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(norm_stats, key, message):
    with pytest.raises(CheckpointError, match=message):
        ActionStatistics.from_norm_stats(norm_stats, key)


def test_hash_changes_with_any_number():
    stats = {"a": {"action": {"q01": [0.0] * 7, "q99": [1.0] * 7}}}
    other = {"a": {"action": {"q01": [0.0] * 7, "q99": [1.0] * 6 + [1.1]}}}
    first, second = (ActionStatistics.from_norm_stats(values, "a") for values in (stats, other))
    assert first.hash != second.hash
