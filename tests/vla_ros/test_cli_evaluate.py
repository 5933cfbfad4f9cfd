"""`vla-ros evaluate` under delays, with a journal and a report, and `vla-ros compare`."""

import json
import sys

import pytest

LIFT, PUSH = "VlaRos/Lift-v0", "VlaRos/Push-v0"
BASE = ("evaluate", "--policy", "expert", "--env", LIFT, "--workers", 1)


def one_line(errors):
    return " ".join(errors.split())


def test_a_sweep_over_delays_and_ways(vla_ros, tmp_path):
    file = tmp_path / "sweep.json"
    code, out, _ = vla_ros(
        *BASE, "--episodes", 2, "--delay-ms", 0, "--delay-ms", 200,
        "--late-chunks", "align", "--late-chunks", "naive", "--json", file,
    )  # fmt: skip
    assert code == 0
    result = json.loads(file.read_text())
    ways = [(part["delay_ms"], part["late_chunks"]) for part in result["by_condition"]]
    assert ways == [(0.0, "align"), (200.0, "align"), (200.0, "naive")]  # 0 ms: one is enough
    assert result["delay_ms"] == [0.0, 200.0, 200.0] and result["variant"] == "standard"
    assert result["episodes"] == 6
    assert [len(part["rows"]) for part in result["by_condition"]] == [2, 2, 2]
    assert result["made_with"]["command"].startswith("vla-ros evaluate")
    assert result["made_with"]["machine"] and result["made_with"]["versions"]["mujoco"]
    assert "delay" in out and "naive" in out
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.json"]  # no journal is left


def test_a_table_by_variant(vla_ros, tmp_path):
    file = tmp_path / "variants.json"
    code, out, _ = vla_ros(
        *BASE, "--env", PUSH, "--episodes", 1, "--json", file,
        "--variant", "standard", "--variant", "shifted-camera",
    )  # fmt: skip
    assert code == 0
    result = json.loads(file.read_text())
    assert [part["variant"] for part in result["by_condition"]] == ["standard", "shifted-camera"]
    assert "shifted-camera" in out and "average" in out


def test_in_real_time_it_says_that_the_machine_matters(vla_ros, tmp_path):
    file = tmp_path / "real.json"
    code, out, _ = vla_ros(*BASE, "--episodes", 1, "--realtime", "--json", file)
    assert code == 0
    assert "depend on this machine" in out
    assert json.loads(file.read_text())["realtime"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--delay-ms", "-5"), "delay_ms: expected 0 to 10000, got -5"),
        (("--late-chunks", "blend"), "late_chunks: expected one of align, naive, got 'blend'"),
        (("--variant", "mars"), "variant: expected one of standard"),
        (("--variant", "standard", "--variant", "standard"), "expected each value once"),
        (("--backend", "slurm"), "backend: expected one of processes, ray, got 'slurm'"),
        (("--blackout",), "blackout: expert has no network and looks at no image"),
        (("--quantize", "int8"), "quantize: expert has no network"),
        (("--dtype", "bfloat16"), "dtype: expert has no network"),
        (("--unnorm-key", "x"), "unnorm_key: expert has no network"),
        (("--resume",), "resume: expected --json with it"),
    ],
)
def test_what_cannot_be_is_one_line(vla_ros, options, message):
    code, _, errors = vla_ros(*BASE, "--episodes", 1, *options)
    assert code == 2
    assert message in one_line(errors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device", "nonsense"), "device: 'nonsense' cannot be used here"),
        (("--unnorm-key", "bridge"), "unnorm_key"),
        (("--quantize", "int3"), "quantize: expected one of"),
        (("--dtype", "float16"), "dtype: expected one of float32, bfloat16, got 'float16'"),
    ],
)
def test_a_policy_is_checked_before_an_episode_runs(vla_ros, monkeypatch, options, message):
    def fail(*_):
        raise AssertionError("an episode ran")

    monkeypatch.setattr("vla_ros.cli.evaluate.evaluate_all", fail)
    code, _, errors = vla_ros(
        "evaluate", "--policy", "openvla-mini", "--env", LIFT, "--episodes", 1, *options
    )
    assert code == 2
    assert message in one_line(errors)


UNREACHABLE = """
instruction: "lift the {red cube}"
objects:
  - {kind: cube, color: red, x_m: 0.95, y_m: 0.4}
success:
  - lifted: {item: red cube, height_m: 0.10}
"""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--env", "far.yaml"), "is out of reach"),
        (
            ("--variant", "standard", "--variant", "stand-in-filament"),
            "cannot render with Filament",
        ),
        (("--backend", "ray"), "backend: ray is not installed"),
    ],
)
def test_what_no_episode_can_do_is_said_before_the_first(
    vla_ros, monkeypatch, tmp_path, options, message
):
    """The second --env and --variant, too; and nothing is left behind."""
    from sim.evaluation import work
    from sim.sim2real import filament

    monkeypatch.setattr(filament, "_problem", lambda: "no Vulkan")
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(work, "run_episode", lambda *_, **__: pytest.fail("an episode ran"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "far.yaml").write_text(UNREACHABLE)
    code, _, errors = vla_ros(
        *BASE, "--episodes", 2, "--json", "r.json", "--report", "page", *options
    )
    assert code == 2
    assert message in one_line(errors)
    assert [path.name for path in tmp_path.iterdir()] == ["far.yaml"]


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("--env", "s.yaml"), "env"),
        (("--env", "../here/s.yaml"), "env"),
        (("--env", LIFT, "--variant", "s.yaml"), "variant"),
        (("--env", LIFT, "--variant", "identified:s.yaml"), "variant"),
        (("--world", "s.yaml"), "world"),
        (("--env", LIFT, "--report", "s.yaml"), "report"),
        (("--env", LIFT, "--video", "s.yaml"), "video"),
    ],
)
def test_no_result_is_written_over_what_is_read(vla_ros, monkeypatch, tmp_path, words, option):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "s.yaml").write_text("mine")
    code, _, errors = vla_ros("evaluate", "--policy", "zero", "--json", "s.yaml", *words)
    assert code == 2
    expected = f"json: expected a file of its own, s.yaml is given for {option}, too"
    assert expected in one_line(errors)
    assert (folder / "s.yaml").read_text() == "mine"


def test_a_policy_computes_in_what_it_is_told(vla_ros, monkeypatch, tmp_path):
    import torch

    from sim.evaluation import work

    told = []
    run = work.prepared

    def prepared(evaluation, env_id):
        env, policy = run(evaluation, env_id)
        told.append(policy.model.dtype)
        return env, policy

    monkeypatch.setattr("sim.evaluation.work.prepared", prepared)
    file = tmp_path / "result.json"
    code, _, errors = vla_ros(
        "evaluate", "--policy", "openvla-mini-oft", "--env", LIFT, "--episodes", 1, "--workers", 1,
        "--dtype", "bfloat16", "--json", file,
    )  # fmt: skip
    assert code == 0, errors
    assert set(told) == {torch.bfloat16}
    assert json.loads(file.read_text())["dtype"] == "bfloat16"


def test_weights_are_checked_before_an_episode_runs(vla_ros, monkeypatch, tmp_path):
    import shutil

    from policies.factory import policy_folder

    folder = tmp_path / "policy"
    shutil.copytree(policy_folder("openvla-mini"), folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    monkeypatch.setattr("vla_ros.cli.evaluate.evaluate_all", lambda *_: pytest.fail("it ran"))
    code, _, errors = vla_ros("evaluate", "--policy", folder, "--env", LIFT, "--episodes", 1)
    assert code == 2
    assert "not a whole safetensors file" in one_line(errors)


def test_an_interrupted_evaluation_goes_on(vla_ros, tmp_path, monkeypatch):
    from sim.evaluation import work

    file = tmp_path / "result.json"
    options = (*BASE, "--episodes", 3, "--json", file)
    run_episode, seeds = work.run_episode, []

    def stop_at_third(env, policy, seed, *rest, **more):
        seeds.append(seed)
        if len(seeds) == 3:
            raise OSError("the disk is gone")
        return run_episode(env, policy, seed, *rest, **more)

    monkeypatch.setattr(work, "run_episode", stop_at_third)
    assert vla_ros(*options)[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["result.json.partial.jsonl"]
    code, _, errors = vla_ros(*options, "--seed", 5, "--resume")
    assert code == 2 and "conditions[0].seed: the interrupted evaluation had 1000" in one_line(
        errors
    )
    assert vla_ros(*options, "--resume")[0] == 0
    assert seeds == [1000, 1001, 1002, 1002]
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    resumed = json.loads(file.read_text())
    assert vla_ros(*options)[0] == 0
    whole = json.loads(file.read_text())
    for result in (resumed, whole):
        del result["policy_latency_ms"], result["made_with"]
    assert resumed == whole


def test_compare_names_every_variant_at_80_columns(vla_ros, tmp_path, monkeypatch):
    """The row of a variant over its environments is what docs/randomization.md prints."""
    monkeypatch.setenv("COLUMNS", "80")
    variants = ("shifted-camera", "distractors", "observation", "stand-in-filament")
    of_a_file = "identified:/home/somebody/logs/of/the/lab/arm.json"
    for policy in ("before", "after"):
        parts = [
            {
                "env": env, "variant": variant, "policy": policy, "seed": 0, "episodes": 100,
                "rows": [{"seed": seed, "success": policy == "after"} for seed in range(100)],
            }
            for variant in (*variants, of_a_file)
            for env in ("VlaRos/Lift-v0", "VlaRos/PlaceRelative-v0", "config/scenes/bowl.yaml")
        ]  # fmt: skip
        text = json.dumps({"policy": policy, "env": "several", "by_condition": parts})
        (tmp_path / f"{policy}.json").write_text(text)
    code, out, _ = vla_ros("compare", tmp_path / "before.json", tmp_path / "after.json")
    assert code == 0 and "…" not in out
    assert max(len(line) for line in out.splitlines()) <= 80
    for variant in variants:
        (row,) = (line for line in out.splitlines() if line.split()[:2] == ["all", variant])
        assert row.split()[2] == "300" and "+100.0" in row
    assert out.count("identified:") == out.count("arm.json") == 4 and "/home" not in out
    assert sum(line.rstrip().endswith(" <0.001") for line in out.splitlines()) == 21  # none is cut


def test_compare(vla_ros, tmp_path):
    expert, zero, other = (tmp_path / f"{name}.json" for name in ("expert", "zero", "other"))
    for policy, file, env in (
        ("expert", expert, LIFT),
        ("zero", zero, LIFT),
        ("zero", other, PUSH),
    ):
        assert vla_ros(
            "evaluate", "--policy", policy, "--env", env, "--episodes", 3, "--workers", 1,
            "--json", file,
        )[0] == 0  # fmt: skip
    result_file = tmp_path / "comparison.json"
    code, out, _ = vla_ros("compare", zero, expert, "--json", result_file)
    assert code == 0
    assert "policy: A zero, B expert" in out and "+100.0" in out
    result = json.loads(result_file.read_text())
    assert (result["only_b"], result["difference"], result["mcnemar_p"]) == (3, 1.0, 0.25)
    code, _, errors = vla_ros("compare", expert, other)
    assert code == 2 and "env: expected the same episodes in both" in one_line(errors)
    code, _, errors = vla_ros("compare", expert, tmp_path / "none.json")
    assert code == 2 and "No such file" in one_line(errors)
