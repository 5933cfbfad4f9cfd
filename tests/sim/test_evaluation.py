"""The evaluation: known intervals, the keys of its JSON, bounds, and what swapping means."""

import json
import os

import numpy as np
import pytest

from policies.interface import ActionChunk, InstructionError, Observation, ObservationError
from sim import CORE_ENV_IDS
from sim.env import TabletopEnv
from sim.evaluation import (
    Evaluation,
    evaluate,
    run_episode,
    summarize,
    wilson_interval,
    write_json,
)
from sim.policies import ExpertPolicy, ZeroPolicy

LIFT = ("VlaRos/Lift-v0",)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Computed by hand from Wilson's formula with z = 1.959964.
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),  # R. G. Newcombe 1998, Statistics in Medicine 17:857, Table I
        (15, 148, 0.0624, 0.1605),  # the same
        (0, 20, 0.0, 0.1611),  # the same
        (1, 29, 0.0061, 0.1718),  # the same
        (100, 100, 0.9630, 1.0),
    ],
)
def test_wilson_interval(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_of_nonsense():
    with pytest.raises(ValueError, match="expected 0 <= successes <= trials, got 3 of 2"):
        wilson_interval(3, 2)


def without_latency(summary):
    return {key: value for key, value in summary.items() if key != "policy_latency_ms"}


def test_the_expert_succeeds_and_the_json_has_its_keys(tmp_path):
    summary = evaluate(Evaluation("expert", LIFT, episodes=5, seed=1000))
    file = tmp_path / "new" / "result.json"
    write_json(file, summary)
    read = json.loads(file.read_text())
    assert os.listdir(file.parent) == ["result.json"]
    assert set(read) >= {
        "success_rate",
        "wilson_low",
        "wilson_high",
        "episodes",
        "seed",
        "policy",
        "env",
        "policy_latency_ms",
        "first_touch_rate",
        "rows",
    }
    assert set(read["policy_latency_ms"]) == {"p50", "p99"}
    assert (read["policy"], read["env"], read["seed"]) == ("expert", "VlaRos/Lift-v0", 1000)
    assert read["success_rate"] == read["first_touch_rate"] == 1.0
    assert [row["seed"] for row in read["rows"]] == [1000, 1001, 1002, 1003, 1004]
    assert set(read["rows"][0]) >= {"seed", "instruction", "success", "steps", "first_touched"}


def test_doing_nothing_never_succeeds():
    summary = evaluate(Evaluation("zero", CORE_ENV_IDS, episodes=3))
    assert summary["success_rate"] == summary["first_touch_rate"] == 0.0
    assert summary["env"] == list(CORE_ENV_IDS) and summary["episodes"] == 9
    assert [part["env"] for part in summary["by_env"]] == list(CORE_ENV_IDS)


def test_the_number_of_workers_changes_nothing():
    alone, together = (
        evaluate(Evaluation("expert", LIFT, episodes=6, seed=7, workers=workers))
        for workers in (1, 2)
    )
    assert without_latency(alone) == without_latency(together)


def test_the_average_is_that_of_the_environments():
    summary = evaluate(Evaluation("expert", CORE_ENV_IDS[:2], episodes=2))
    rates = [part["success_rate"] for part in summary["by_env"]]
    assert summary["success_rate"] == np.mean(rates)


def test_swapping_names_another_item_and_success_is_judged_by_it():
    env = TabletopEnv("Lift", cameras=())
    for seed in range(3):
        plain = run_episode(env, ExpertPolicy(env), seed)
        swapped = run_episode(env, ExpertPolicy(env), seed, swap_instruction=True)
        assert swapped.target != plain.target
        assert swapped.target in swapped.instruction
        assert swapped.success and swapped.first_touched == swapped.target
        again = run_episode(env, ExpertPolicy(env), seed, swap_instruction=True)
        assert again.instruction == swapped.instruction


def test_swapping_where_nothing_else_can_be_named_is_refused_before_the_work():
    with pytest.raises(ValueError, match="nothing else can be named in VlaRos/Sort-v0; expected"):
        Evaluation("expert", ("VlaRos/Lift-v0", "VlaRos/Sort-v0"), swap_instruction=True)


def test_any_item_to_be_sorted_may_be_touched_first():
    env = TabletopEnv("Sort", cameras=())
    result = run_episode(env, ExpertPolicy(env), 0)
    assert result.success and result.first_touch_fits
    stages = env.running()[1].stages
    assert result.first_touched in [stage.target for stage in stages]


class Watcher:
    """Notes what it sees and asks for a chunk of three still actions."""

    name = "watcher"
    cameras = ("front",)

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def reset(self, seed=None):
        self.seen.clear()

    def predict_chunk(self, observation):
        self.seen.append(observation)
        return ActionChunk(np.tile([0, 0, 0, 0, 0, 0, 1.0], (3, 1)), observation.stamp_ns, 0.1)


def test_a_policy_sees_its_cameras_once_a_chunk():
    env, policy = TabletopEnv("Push", cameras=("front",), image_size_px=32), Watcher()
    result = run_episode(env, policy, 0)
    assert result.steps == env.task.max_steps
    assert len(policy.seen) == env.task.max_steps // 3
    assert set(policy.seen[0].images) == {"front"}
    assert policy.seen[0].camera("front").max() > 100
    stamps_ns = [observation.stamp_ns for observation in policy.seen]
    np.testing.assert_allclose(np.diff(stamps_ns), 0.3e9, atol=1)


def test_only_the_first_steps_of_a_chunk_are_executed_when_asked():
    env, policy = TabletopEnv("Push", cameras=("front",), image_size_px=32), Watcher()
    result = run_episode(env, policy, 0, execute_steps=2)
    assert result.steps == env.task.max_steps
    assert len(policy.seen) == env.task.max_steps // 2
    stamps_ns = [observation.stamp_ns for observation in policy.seen]
    np.testing.assert_allclose(np.diff(stamps_ns), 0.2e9, atol=1)


def test_a_policy_that_does_not_understand_fails_the_episode_and_no_other_error_is_hidden():
    class Refuses(Watcher):
        error: type[Exception] = InstructionError

        def predict_chunk(self, observation):
            raise self.error("not trained on 'hoist'")

    env, policy = TabletopEnv("Push", cameras=("front",), image_size_px=32), Refuses()
    result = run_episode(env, policy, 0)
    assert (result.success, result.steps, len(result.latencies_ms)) == (False, 0, 1)
    policy.error = ObservationError
    with pytest.raises(ObservationError):
        run_episode(env, policy, 0)


def test_blackout():
    env, policy = TabletopEnv("Push", cameras=(), image_size_px=32), Watcher()
    run_episode(env, policy, 0, blackout=True)
    assert policy.seen[0].camera("front").shape == (32, 32, 3)
    assert all(observation.camera("front").max() == 0 for observation in policy.seen)


def test_an_absolute_chunk_goes_to_its_pose():
    env = TabletopEnv("Lift", cameras=())

    class GoThere(ZeroPolicy):
        def predict_chunk(self, observation):
            pose = [0.45, 0.1, 0.2, np.pi, 0.0, 0.0, 1.0]  # the tool pointing down
            return ActionChunk(np.tile(pose, (10, 1)), observation.stamp_ns, 0.1, mode="absolute")

    run_episode(env, GoThere(), 0)
    world, _ = env.running()
    np.testing.assert_allclose(world.ee_position, [0.45, 0.1, 0.2], atol=5e-3)
    np.testing.assert_allclose(world.ee_rotation.apply([0, 0, 1]), [0, 0, -1], atol=0.02)


def test_videos(tmp_path):
    import av

    evaluate(Evaluation("expert", LIFT, episodes=1, seed=3, video_folder=tmp_path / "videos"))
    (file,) = (tmp_path / "videos").iterdir()
    assert file.name == "Lift-v0_3_success.mp4"
    with av.open(str(file)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env_ids": ("VlaRos/Fly-v0",)}, "env: expected some of VlaRos/Lift-v0.*got VlaRos/Fly"),
        ({"env_ids": ()}, "env: expected some of .*got none"),
        ({"episodes": 0}, "episodes: expected 1 or more, got 0"),
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
        ({"workers": 0}, "workers: expected 1 or more, got 0"),
        ({"execute_steps": 0}, "execute_steps: expected 1 or more, got 0"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        Evaluation(**({"policy": "expert", "env_ids": LIFT} | changes))


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "result.json"
    write_json(file, {"success_rate": 1.0})
    with pytest.raises(TypeError):
        write_json(file, {"success_rate": object()})
    assert json.loads(file.read_text()) == {"success_rate": 1.0}
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_summary_without_a_success():
    result = run_episode(TabletopEnv("Lift", cameras=()), ZeroPolicy(), 0)
    assert summarize([result])["mean_steps_of_successes"] is None
