"""Two results of the same episodes: counted by hand; others are refused, naming the field."""

import json

import pytest

from sim.evaluation.compare import ComparisonError, compare, read_result
from sim.evaluation.intervals import wilson_interval


def part(outcomes, env="VlaRos/Lift-v0", **changes):
    """A result of one environment; `outcomes` are 1 and 0 for the seeds from 1000."""
    rows = [
        {"seed": 1000 + index, "instruction": f"do {index}", "success": bool(value)}
        for index, value in enumerate(outcomes)
    ]
    common = {
        "policy": "one",
        "variant": "standard",
        "seed": 1000,
        "episodes": len(rows),
        "blackout": False,
        "swap_instruction": False,
    }
    return {"env": env, **common, "rows": rows, **changes}


def test_counted_by_hand():
    result = compare(part([1, 1, 0, 0, 0, 1]), part([1, 0, 1, 1, 0, 1], policy="two"))
    assert [result[key] for key in ("both", "only_a", "only_b", "neither")] == [2, 1, 2, 1]
    assert result["difference"] == pytest.approx(1 / 6)
    assert result["difference_low"] < 1 / 6 < result["difference_high"]
    assert result["a_success"]["success_rate"] == pytest.approx(0.5)
    assert result["b_success"]["success_rate"] == pytest.approx(4 / 6)
    assert result["mcnemar_p"] == pytest.approx(1.0)
    assert result["differs_in"] == ["policy"]


def test_several_environments_are_paired_each_and_together():
    def both(first, second, policy):
        return {
            **part(first, policy=policy),
            "env": ["VlaRos/Lift-v0", "VlaRos/Push-v0"],
            "by_env": [
                part(first, policy=policy),
                part(second, "VlaRos/Push-v0", policy=policy),
            ],
        }

    result = compare(both([1, 0], [0, 0], "a"), both([1, 1], [1, 0], "b"))
    assert [row["env"] for row in result["by_group"]] == ["VlaRos/Lift-v0", "VlaRos/Push-v0"]
    assert [row["only_b"] for row in result["by_group"]] == [1, 1]
    assert (result["episodes"], result["only_b"]) == (4, 2)


def sweep(outcomes, policy):
    """Of {(variant, env): outcomes}, as `evaluate --variant A --variant B --env ...` writes it."""
    parts = [
        part(each, env, variant=variant, policy=policy) for (variant, env), each in outcomes.items()
    ]
    return {"policy": policy, "env": "several", "by_condition": parts}


def test_each_variant_is_also_paired_over_its_environments():
    names = [(variant, env) for variant in ("lighting", "camera") for env in ("lift", "push")]
    before = dict(zip(names, ([1, 0], [0, 0], [1, 1], [1, 0]), strict=True))
    after = dict(zip(names, ([1, 1], [1, 0], [0, 1], [0, 1]), strict=True))
    result = compare(sweep(before, "a"), sweep(after, "b"))
    rows = {row["variant"]: row for row in result["by_variant"]}
    assert list(rows) == ["lighting", "camera"]
    counts = ("episodes", "both", "only_a", "only_b", "neither")
    assert [rows["lighting"][key] for key in counts] == [4, 1, 0, 2, 1]
    assert [rows["camera"][key] for key in counts] == [4, 1, 2, 1, 0]
    assert rows["lighting"]["difference"] == pytest.approx(0.5)
    assert rows["lighting"]["mcnemar_p"] == pytest.approx(0.5)
    assert rows["camera"]["difference"] == pytest.approx(-0.25)
    assert len(result["by_group"]) == 4 and result["episodes"] == 8


def test_variants_share_their_scenes():
    """One scene in which B is better, five times: it is still one scene."""
    variants = [f"v{index}" for index in range(5)]
    first, second = (
        sweep({(name, "VlaRos/Lift-v0"): outcomes for name in variants}, policy)
        for outcomes, policy in (([1, 1, 0, 0, 1, 0], "a"), ([1, 1, 1, 0, 1, 0], "b"))
    )
    result = compare(first, second)
    assert (result["episodes"], result["scenes"], result["only_b"]) == (30, 6, 5)
    assert result["mcnemar_p"] is None and result["sign_flip_p"] == pytest.approx(1.0)
    assert result["difference_low"] == 0.0 and 0.3 < result["difference_high"] <= 0.6
    assert all(row["mcnemar_p"] == 1.0 for row in result["by_variant"])
    for name, successes in (("a_success", 3), ("b_success", 4)):
        rate = result[name]
        assert rate["success_rate"] == pytest.approx(successes / 6)
        assert (rate["scenes"], rate["effective_episodes"]) == (6, 6)
        interval = (rate["scene_wilson_low"], rate["scene_wilson_high"])
        assert interval == pytest.approx(wilson_interval(successes, 6))
        assert "wilson_low" not in rate and "wilson_high" not in rate
        low, high = wilson_interval(successes, 6)
        for row in result["by_variant"]:  # scenes of one variant are independent
            assert (row[name]["wilson_low"], row[name]["wilson_high"]) == (low, high)


def test_what_is_compared_may_differ():
    result = compare(part([1], delay_ms=0.0), part([0], delay_ms=300.0, late_chunks="naive"))
    assert result["differs_in"] == ["delay_ms", "late_chunks"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (part([1, 0], "VlaRos/Push-v0"), "env: .*A has .*Lift-v0.*B has .*Push-v0"),
        (part([1, 0], variant="shifted-camera"), "variant: .*standard.*shifted-camera"),
        (part([1, 0], seed=5), "seed: .*A has 1000, B has 5"),
        (part([1, 0, 0]), "episodes: .*A has 2, B has 3"),
        (part([1, 0], blackout=True), "blackout: .*A has False, B has True"),
    ],
)
def test_other_episodes_are_refused(other, message):
    with pytest.raises(ComparisonError, match=message):
        compare(part([1, 0]), other)


def test_other_seeds_and_other_words_are_refused():
    other = part([1, 0])
    other["rows"][1]["seed"] = 7
    with pytest.raises(ComparisonError, match="rows: seeds"):
        compare(part([1, 0]), other)
    other = part([1, 0])
    other["rows"][1]["instruction"] = "do something else"
    with pytest.raises(ComparisonError, match="instruction of seed 1001.*something else"):
        compare(part([1, 0]), other)


def test_a_sweep_is_not_one_result():
    sweep = {**part([1]), "by_condition": [part([1], delay_ms=0.0), part([1], delay_ms=100.0)]}
    with pytest.raises(ComparisonError, match="A has several results.*files of their own"):
        compare(sweep, part([1]))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"rows": 3}', '{"rows": [{"seed": 1}]}'])
def test_files_that_are_no_results(tmp_path, text):
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(ComparisonError, match="expected a file that `vla-ros evaluate --json`"):
        read_result(file)
    with pytest.raises(ComparisonError, match="No such file"):
        read_result(tmp_path / "none.json")


def test_a_result_is_read_back(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps(part([1, 0])))
    assert read_result(file) == part([1, 0])
