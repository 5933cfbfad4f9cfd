"""A ranking added up by hand, with and without abstention."""

import numpy as np
import pytest

from vla_ros.ranking.result import summarize
from vla_ros.ranking.settings import Ranking, read_contestant
from vla_ros.ranking.work import Episode
from world_models.novelty import Usual

LIFT = "VlaRos/Lift-v0"
NAMES = ("zero", "noisy:1:zero", "noisy:2:zero", "noisy:3:zero")
USUAL = Usual({"doubt": (1.0, 0.5)}, threshold=2.0, share=0.05, episodes=40)


def ranking(count):
    return Ranking(tuple(map(read_contestant, NAMES[:count])), "model", (LIFT,), episodes=4, seed=0)


def episode(policy, seed, imagined, simulated, probability=0.5, doubt=1.0, variant="standard"):
    return Episode(
        policy, variant, LIFT, seed, "lift it", imagined, probability, probability, 10,
        {"doubt": doubt}, simulated,
    )  # fmt: skip


def table(imagined, simulated):
    """So many successes of 4 for every policy."""
    return [
        episode(name, seed, seed < said, seed < came, 0.9 if seed < said else 0.2)
        for name, said, came in zip(NAMES, imagined, simulated, strict=False)
        for seed in range(4)
    ]


def test_agreement_by_hand():
    result = summarize(ranking(3), table((1, 3, 2), (1, 2, 4)), {}, None)
    # Policies 1 and 2 are ranked wrongly and really differ by 2 of 4: (0 + 0.5 + 0.5) / 3.
    assert result["mmrv"] == pytest.approx(1 / 3)
    assert result["pearson_r"] == pytest.approx(np.corrcoef((1, 3, 2), (1, 2, 4))[0, 1])
    assert result["spearman_rho"] == pytest.approx(0.5)
    assert result["by_probability"]["pearson_r"] == pytest.approx(result["pearson_r"])
    assert result["mean_difference"] == pytest.approx((6 - 7) / 12)
    first = result["policies"][0]
    assert first["imagined"]["success_rate"] == first["mujoco"]["success_rate"] == 0.25
    assert first["imagined"]["mean_probability"] == pytest.approx((0.9 + 3 * 0.2) / 4)
    assert first["imagined"]["wilson_low"] < 0.25 < first["imagined"]["wilson_high"]
    assert result["abstained"] == 0 and result["abstention"] is None
    assert len(result["rows"]) == 12


def test_calibration_pairs_the_same_episodes():
    result = summarize(ranking(3), table((1, 3, 2), (1, 2, 4)), {}, None)["calibration"]
    # Said 0.9 six times, of which 5 came; said 0.2 six times, of which 2 came.
    assert result["episodes"] == 12
    assert result["ece"] == pytest.approx((abs(0.9 - 5 / 6) + abs(0.2 - 2 / 6)) / 2, abs=1e-6)
    assert result["agreement"] == pytest.approx(9 / 12)
    # Of 7 * 5 pairs: 5 * 4 ordered rightly, 5 * 1 + 2 * 4 equal.
    assert result["auroc"] == pytest.approx((20 + 13 / 2) / 35)
    assert result["brier"] == pytest.approx(
        (5 * 0.1**2 + 1 * 0.9**2 + 2 * 0.8**2 + 4 * 0.2**2) / 12
    )


def test_unusual_episodes_are_left_out_and_counted():
    doubts = (5.0, 1.0, 1.0, 1.0)
    rows = [
        *(episode("zero", seed, seed < 2, seed < 2, doubt=doubts[seed]) for seed in range(4)),
        *(episode("noisy:1:zero", seed, True, True) for seed in range(4)),
        *(episode("noisy:2:zero", seed, False, False) for seed in range(4)),
        *(episode("zero", seed, False, None, doubt=9.0, variant="camera") for seed in range(4)),
    ]  # fmt: skip
    result = summarize(ranking(3), rows, {}, USUAL)
    first = result["policies"][0]
    assert result["abstained"] == first["abstained"] == 1
    assert first["imagined"]["episodes"] == 3
    assert first["imagined"]["success_rate"] == pytest.approx(1 / 3)
    assert first["imagined_all"]["success_rate"] == first["mujoco"]["success_rate"] == 0.5
    assert first["mujoco_answered"]["success_rate"] == pytest.approx(1 / 3)
    assert result["calibration"]["episodes"] == 11
    worlds = result["abstention"]["by_variant"]
    assert (worlds["standard"]["abstained"], worlds["standard"]["episodes"]) == (1, 4)
    assert (worlds["standard"]["mean_deviations"]["doubt"]) == pytest.approx(2.0)
    assert result["rows"][0]["abstained"] and result["rows"][0]["novelty"] == pytest.approx(8.0)


def test_other_worlds_count_nowhere_else():
    rows = table((1, 3, 2), (1, 2, 4))
    alone = summarize(ranking(3), rows, {}, USUAL)
    more = [*rows, *(episode("zero", seed, True, None, 1.0, 9.0, "camera") for seed in range(4))]
    asked = Ranking(ranking(3).contestants, "model", (LIFT,), 4, 0, other_variants=("camera",))
    both = summarize(asked, more, {}, USUAL)
    for name in ("pearson_r", "mmrv", "calibration", "policies", "abstained"):
        assert both[name] == alone[name]
    worlds = both["abstention"]["by_variant"]
    assert (worlds["camera"]["abstained"], worlds["standard"]["abstained"]) == (4, 0)


def test_too_few_answers_are_no_ranking():
    rows = table((1, 3, 2), (1, 2, 4))
    for name in NAMES[:2]:
        rows = [row for row in rows if row.policy != name]
        rows += [episode(name, seed, True, True, doubt=9.0) for seed in range(4)]
    result = summarize(ranking(3), rows, {}, USUAL)
    assert result["pearson_r"] is result["mmrv"] is None
    assert "answers for 1 policies and abstains from all episodes" in result["reasons"]["mmrv"]
    assert result["policies"][0]["imagined"] is None and result["policies"][0]["abstained"] == 4


def test_equal_rates_have_no_correlation():
    result = summarize(ranking(3), table((2, 2, 2), (1, 2, 4)), {}, None)
    assert result["pearson_r"] is None
    assert "imagined rates are all 0.5" in result["reasons"]["pearson_r"]


def test_the_end_may_be_known_from_elsewhere():
    rows = [episode(name, 0, True, None) for name in NAMES[:3]]
    truth = {(name, LIFT, 0): name == "zero" for name in NAMES[:3]}
    result = summarize(ranking(3), rows, truth, None)
    rates = [row["mujoco"]["success_rate"] for row in result["policies"]]
    assert rates == [1.0, 0.0, 0.0]
