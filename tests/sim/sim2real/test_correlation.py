import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.sim2real.correlation import (
    Bootstrap,
    PolicyRates,
    RatesError,
    compare,
    mean_maximum_rank_violation,
)


def rates(simulation, real, episodes=None):
    return [
        PolicyRates(f"p{index}", sim, robot, episodes, episodes)
        for index, (sim, robot) in enumerate(zip(simulation, real, strict=True))
    ]


def test_mmrv_by_hand():
    # Only policies 1 and 2 are ranked wrongly; they really differ by 0.5:
    # (0 + 0.5 + 0.5) / 3.
    simulation, real = [0.2, 0.6, 0.4], [0.1, 0.3, 0.8]
    assert mean_maximum_rank_violation(simulation=simulation, real=real) == pytest.approx(1 / 3)


def test_mmrv_weighs_by_the_real_difference():
    # Exchanged, the same violation weighs 0.2: (0 + 0.2 + 0.2) / 3.
    simulation, real = [0.2, 0.6, 0.4], [0.1, 0.3, 0.8]
    assert mean_maximum_rank_violation(simulation=real, real=simulation) == pytest.approx(0.4 / 3)
    with pytest.raises(TypeError):
        mean_maximum_rank_violation(simulation, real)  # by position, nobody knows which is which


def test_mmrv_of_four_policies_by_hand():
    simulation, real = [0.9, 0.5, 0.7, 0.1], [0.2, 0.4, 0.9, 0.3]
    # Wrong pairs: (0, 1) 0.2, (0, 2) 0.7, (0, 3) 0.1; others agree.
    # Worst of each: 0.7, 0.2, 0.7, 0.1.
    value = mean_maximum_rank_violation(simulation=simulation, real=real)
    assert value == pytest.approx((0.7 + 0.2 + 0.7 + 0.1) / 4)


def test_mmrv_of_a_tie_follows_the_paper():
    # sim 0 = sim 1, real 0 > real 1. [sim_i < sim_j] is false both ways; [real_i < real_j] is true
    # for i = 1 alone, so that the violation counts once: (0 + 0.4 + 0) / 3.
    value = mean_maximum_rank_violation(simulation=[0.5, 0.5, 0.9], real=[0.6, 0.2, 0.9])
    assert value == pytest.approx(0.4 / 3)


def test_compare_agrees_with_scipy():
    simulation, real = [0.1, 0.35, 0.6, 0.9, 0.8], [0.0, 0.5, 0.4, 0.7, 0.9]
    result = compare(rates(simulation, real, 20))
    assert result["pearson_r"] == pytest.approx(np.corrcoef(simulation, real)[0, 1])
    assert result["spearman_rho"] == pytest.approx(scipy.stats.spearmanr(simulation, real)[0])
    fisher = scipy.stats.pearsonr(simulation, real).confidence_interval(0.95)
    assert result["pearson_r_interval_over_policies"] == pytest.approx([fisher.low, fisher.high])
    assert result["mean_difference"] == pytest.approx(np.mean(simulation) - np.mean(real))
    # The pairs that simulation ranks wrongly: (1, 2) by 0.1, (3, 4) by 0.2.
    assert [row["worst_violation"] for row in result["rows"]] == pytest.approx(
        [0, 0.1, 0.1, 0.2, 0.2]
    )
    assert result["rows"][4]["violated_with"] == "p3"


def test_the_bootstrap_is_seeded_and_narrows_with_episodes():
    simulation, real = [0.1, 0.4, 0.6, 0.9], [0.2, 0.3, 0.7, 0.8]
    few, again, many = (
        compare(rates(simulation, real, count), Bootstrap(draws=2000, seed=3))
        for count in (20, 20, 2000)
    )
    assert few == again
    widths = [np.ptp(result["pearson_r_interval"]) for result in (few, many)]
    assert widths[1] < widths[0] / 3
    low, high = many["pearson_r_interval"]
    assert low < many["pearson_r"] < high
    assert compare(rates(simulation, real, 20), Bootstrap(2000, seed=4)) != few


def test_the_bootstrap_draws_both_worlds():
    # With certain rates in one world only the other's episodes can move the figures.
    certain = [0.0, 1.0, 1.0, 0.0]
    uncertain = [0.2, 0.7, 0.9, 0.3]
    for result in (compare(rates(certain, uncertain, 10)), compare(rates(uncertain, certain, 10))):
        assert np.ptp(result["pearson_r_interval"]) > 0.1
    assert np.ptp(compare(rates(certain, certain, 10))["pearson_r_interval"]) == pytest.approx(0)


def test_without_numbers_of_episodes_there_is_no_interval_over_them():
    result = compare(rates([0.1, 0.4, 0.6, 0.9], [0.2, 0.3, 0.7, 0.8]))
    assert result["pearson_r_interval"] is result["mmrv_interval"] is None
    assert "number of episodes is unknown for p0, p1, p2, p3" in result["reasons"]["mmrv_interval"]
    assert result["pearson_r_interval_over_policies"] is not None


def test_constant_rates_have_no_correlation():
    result = compare(rates([0.5, 0.5, 0.5], [0.1, 0.5, 0.9], 10))
    assert result["pearson_r"] is result["spearman_rho"] is result["pearson_r_interval"] is None
    assert "simulation rates are all 0.5" in result["reasons"]["pearson_r"]
    assert result["mmrv"] == pytest.approx((0.0 + 0.4 + 0.8) / 3)


def test_no_interval_goes_beyond_one():
    result = compare(rates([1.0, 0.0, 0.0], [1.0, 0.0, 0.0], 10), Bootstrap(draws=100))
    assert result["spearman_rho_interval"] == result["pearson_r_interval"] == [1.0, 1.0]


def test_too_few_episodes_give_no_interval():
    result = compare(rates([0.0, 0.0, 1.0], [0.0, 0.5, 1.0], 2), Bootstrap(draws=500))
    assert result["pearson_r_interval"] is not None
    result = compare(rates([0.0, 0.5, 0.0], [0.0, 0.5, 1.0], 2), Bootstrap(draws=500))
    assert result["pearson_r_interval"] is None
    assert "of the draws have constant rates" in result["reasons"]["pearson_r_interval"]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_policies_are_refused(count):
    with pytest.raises(RatesError, match=f"expected 3 or more, got {count}; a line goes through"):
        compare(rates([0.1, 0.9][:count], [0.2, 0.8][:count]))


def test_three_policies_have_no_interval_over_policies():
    result = compare(rates([0.1, 0.4, 0.9], [0.2, 0.3, 0.7]))
    assert result["pearson_r_interval_over_policies"] is None
    assert "needs 4 policies" in result["reasons"]["pearson_r_interval_over_policies"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"real": 85.0}, "real of policy 'a': .* got 85; it looks like a percentage: divide by"),
        ({"simulation": -0.1}, "simulation of policy 'a': expected a success rate .* got -0.1$"),
        ({"simulation": float("nan")}, "simulation of policy 'a': .* got nan"),
        ({"real_episodes": 0}, "real_episodes of policy 'a': expected 1 or more, got 0"),
        ({"real": 0.5, "real_episodes": 3}, "0.5 of 3 episodes is no whole number of successes"),
    ],
)
def test_rates_that_make_no_sense_are_refused(change, message):
    with pytest.raises(RatesError, match=message):
        PolicyRates(**{"policy": "a", "simulation": 0.5, "real": 0.5, **change})


def test_rounded_rates_are_accepted():
    assert PolicyRates("a", 0.67, 0.33, 3, 3).simulation == 0.67


def test_a_policy_that_stands_twice_is_refused():
    row = PolicyRates("same", 0.5, 0.5)
    with pytest.raises(RatesError, match="expected every name once, got same more than once"):
        compare([row, row, PolicyRates("other", 0.1, 0.2)])


rate_pairs = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=8)


@settings(max_examples=50, deadline=None)
@given(rate_pairs, st.integers(1, 40), st.randoms(use_true_random=False))
def test_any_rates_give_figures_in_their_ranges_whatever_the_order(pairs, episodes, shuffler):
    pairs = [tuple(round(rate * episodes) / episodes for rate in pair) for pair in pairs]
    found = compare(rates(*zip(*pairs, strict=True), episodes), Bootstrap(draws=100))
    assert 0.0 <= found["mmrv"] <= 1.0
    for name, low in (("pearson_r", -1.0), ("spearman_rho", -1.0), ("mmrv", 0.0)):
        assert found[name] is None or low - 1e-9 <= found[name] <= 1.0 + 1e-9
        assert (found[name] is None) == (name in found["reasons"])
        interval = found[f"{name}_interval"]
        assert interval is None or low <= interval[0] <= interval[1] <= 1.0
    shuffler.shuffle(pairs)
    again = compare(rates(*zip(*pairs, strict=True)), Bootstrap(draws=100))
    assert again["mmrv"] == pytest.approx(found["mmrv"])
    assert again["spearman_rho"] == pytest.approx(found["spearman_rho"])
    alike = [real for _, real in pairs]
    assert mean_maximum_rank_violation(simulation=alike, real=alike) == 0.0
