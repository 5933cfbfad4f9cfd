"""Which planner on what, as the command line and the policy node choose it."""

import json
import math
import os
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

from policies.interface import ActionChunk
from sim.env import TabletopEnv, to_observation
from sim.policies import ExpertPolicy
from vla_ros import messages
from vla_ros.errors import UserError
from vla_ros.planners import PlannerChoice, choose_planner
from world_models.planning.world_model_planner import WorldModelPlanner

LIFT = "VlaRos/Lift-v0"


@pytest.fixture(scope="module")
def folder(tiny_world_model):
    return str(tiny_world_model())


def test_a_choice_travels_to_workers_and_is_described(folder):
    choice = choose_planner(
        "icem", world_model=folder, deadline_ms=50.0, horizon=4, candidates=None, device="cpu"
    )
    assert ForkingPickler.dumps(choice)  # as processes get it
    assert hash(choice) == hash(replace(choice))
    assert choice.cameras == ("front",)
    assert choice.described() == {
        "planner": "icem", "world_model": folder, "deadline_ms": 50.0, "horizon_actions": 4,
        "candidates": 32, "iterations": 3, "least_gain": 2.0, "patience_s": 1.5,
        "decode_steps": None, "autoregressive": False,
    }  # fmt: skip
    assert PlannerChoice("oracle").described()["least_gain"] == 0.0
    assert PlannerChoice("icem", folder, least_gain=0.0).described()["least_gain"] == 0.0
    assert PlannerChoice("icem", folder, patience_s=0.0).settings().patience_s == math.inf
    assert choice.settings().horizon_frames == 2


def test_the_horizon_is_the_models_context_unless_told_otherwise(folder):
    assert PlannerChoice("icem", folder).described()["horizon_actions"] == 6
    assert PlannerChoice("oracle").described()["horizon_actions"] == 8


def test_an_oracle_plans_around_any_policy():
    env = TabletopEnv("Lift", cameras=())
    values, _ = env.reset(seed=0)
    planner = PlannerChoice("oracle", horizon=2, candidates=4, iterations=1).wrap(
        ExpertPolicy(env), env
    )
    chunk = planner.predict_chunk(to_observation(values))
    assert chunk.diagnostics["imagined"] == 4
    assert planner.name == "expert+icem"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"planner": "dream"}, "planner: expected one of best-of-n, gate, icem, oracle, got"),
        ({"planner": "oracle", "world_model": "x"}, "the oracle plans on MuJoCo itself, got 'x'"),
        ({"planner": None, "horizon": 4}, "horizon: means nothing without --planner"),
        ({"planner": None, "deadline_ms": 4.0}, "deadline-ms: means nothing without --planner"),
        ({"planner": "icem", "world_model": "/nowhere"}, "expected a world model's folder"),
        ({"planner": "oracle", "candidates": 2}, "candidates: expected 4 or more, got 2"),
        ({"planner": "oracle", "decode_steps": 4}, "MuJoCo decodes nothing; expected a world"),
        ({"planner": "icem", "decode_steps": 0}, "search_steps: expected 1 or more, got 0"),
        ({"planner": None, "autoregressive": True}, "autoregressive: means nothing without"),
        ({"planner": "oracle", "deadline_ms": -1.0}, "deadline_ms: expected a number of ms"),
    ],
)
def test_what_cannot_be_chosen_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        choose_planner(**options)


@pytest.mark.parametrize(
    ("horizon", "message"),
    [(8, "horizon: expected at most 6 actions, the context that"), (3, "a multiple of 2 actions")],
)
def test_a_horizon_that_does_not_fit_the_model_is_refused(folder, horizon, message):
    with pytest.raises(UserError, match=message):
        PlannerChoice("icem", folder, horizon=horizon)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"robot": "so101"}, "robot: expected fr3, got so101"),
        ({"rate_hz": 30.0}, "rate_hz: expected 10.0, got 30.0"),
        ({"camera": "overhead"}, "camera: expected front or wrist, got overhead"),
    ],
)
def test_a_world_model_of_another_robot_is_refused(tiny_world_model, changes, message):
    with pytest.raises(UserError, match=message):
        PlannerChoice("icem", str(tiny_world_model(**changes)))


def test_a_world_model_of_another_action_space_is_refused(tiny_world_model):
    folder = tiny_world_model()
    about = json.loads((folder / "config.json").read_text())
    about["action_names"] = ["joint_1", "joint_2"]
    (folder / "config.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="action_names: expected .*'gripper'.* got .*joint_1"):
        PlannerChoice("icem", str(folder))


# --- vla-ros evaluate ---------------------------------------------------------------------------


def test_evaluate_reports_times_and_misses(vla_ros, tmp_path):
    file = tmp_path / "planned.json"
    code, out, _ = vla_ros(
        "evaluate", "--policy", "expert", "--env", LIFT, "--episodes", 1, "--workers", 1,
        "--planner", "best-of-n", "--world-model", "mujoco", "--horizon", 2, "--candidates", 4,
        "--json", file,
    )  # fmt: skip
    assert code == 0
    result = json.loads(file.read_text())
    assert result["success_rate"] == 1.0
    assert result["planner"]["planner"] == "best-of-n"
    assert result["decisions"] >= 5
    assert result["deadline_misses"] == result["fallbacks"] == result["holds"] == 0
    assert 0 < result["planning_ms"]["p50"] <= result["planning_ms"]["p99"]
    assert "deadline misses 0 (0.0%)" in " ".join(out.split())


def test_evaluate_plans_on_a_world_model_within_a_deadline(vla_ros, tmp_path, folder):
    """An untrained one: nothing is claimed of success, only that it runs and counts."""
    file = tmp_path / "planned.json"
    code, _, errors = vla_ros(
        "evaluate", "--policy", "zero", "--env", LIFT, "--episodes", 1, "--workers", 1,
        "--planner", "icem", "--world-model", folder, "--deadline-ms", 40, "--json", file,
    )  # fmt: skip
    assert code == 0, errors
    result = json.loads(file.read_text())
    assert result["planner"]["deadline_ms"] == 40.0
    assert result["decisions"] >= 10
    assert 0 <= result["deadline_misses"] <= result["decisions"]


def test_without_a_planner_nothing_of_it_stands_in_the_result(vla_ros, tmp_path):
    file = tmp_path / "plain.json"
    code, _, _ = vla_ros(
        "evaluate", "--policy", "expert", "--env", LIFT, "--episodes", 1, "--workers", 1,
        "--json", file,
    )  # fmt: skip
    assert code == 0
    result = json.loads(file.read_text())
    assert result["planner"] is None
    assert not {"planning_ms", "deadline_misses", "decisions"} & result.keys()


# --- the policy node ----------------------------------------------------------------------------


class Still:
    """Stays where it is."""

    name, cameras = "still", ("front",)

    def reset(self, seed=None):
        pass

    def predict_chunk(self, observation):
        return ActionChunk(np.zeros((2, 7)), observation.stamp_ns, 0.1)


def parameters(**changes):
    from vla_ros.policy_parameters import PARAMETERS

    return {each.name: each.default for each in PARAMETERS} | changes


def test_the_node_wraps_its_policy(monkeypatch, folder):
    from vla_ros.policy_loading import load_from_factory

    monkeypatch.setattr("policies.factory.load_policy", lambda *_, **__: Still())
    policy = load_from_factory(parameters(planner="gate", world_model=folder, deadline_ms=80.0))
    assert isinstance(policy, WorldModelPlanner)
    assert (policy.settings.mode, policy.settings.deadline_ms) == ("gate", 80.0)
    assert isinstance(load_from_factory(parameters()), Still)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"planner": "oracle"}, "sees the simulator's true state, which no robot has"),
        ({"planner": "icem", "world_model": "mujoco"}, "which no robot has"),
        ({"world_model": "x"}, "world_model: means nothing without a planner"),
        ({"planner": "gate", "compile": True}, "compile: expected no planner"),
    ],
)
def test_a_robot_has_no_oracle(changes, message):
    from vla_ros.policy_loading import load_from_factory

    with pytest.raises(UserError, match=message):
        load_from_factory(parameters(**changes))


def test_the_picture_is_what_the_chunk_leads_to(folder):
    from vla_ros.imagined import Imagining, picture_of

    env = TabletopEnv("Lift", cameras=("front",))
    values, _ = env.reset(seed=0)
    planner = PlannerChoice("icem", folder, candidates=4).around(Still())
    assert isinstance(planner, Imagining)
    assert picture_of(planner) is None
    planner.predict_chunk(to_observation(values, stamp_ns=1_000_000_000))
    picture, stamp_ns = picture_of(planner)
    assert picture.shape == (16, 16, 3) and picture.dtype == np.uint8
    assert stamp_ns == 1_200_000_000
    chunk = planner.predict_chunk(to_observation(values, stamp_ns=1_200_000_000))
    assert 0 < chunk.diagnostics["expected_picture_error"] < 1
    assert chunk.diagnostics["expected_tool_error_m"] > 0


@pytest.fixture
def ros():
    import rclpy

    from vla_ros.graph import shared_environment
    from vla_ros.processes import private_environment

    before = dict(os.environ)
    os.environ.update({**shared_environment(), **private_environment()})
    rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)
    yield
    rclpy.try_shutdown()
    os.environ.clear()
    os.environ.update(before)


def test_the_node_publishes_what_it_expects_and_how_wrong_that_was(ros, folder):
    from vla_ros.policy_node import PolicyNode

    env = TabletopEnv("Lift", cameras=("front",))
    values, _ = env.reset(seed=0)
    planner = PlannerChoice("icem", folder, candidates=4).around(Still())
    node = PolicyNode(load=lambda _: planner)
    try:
        node.trigger_configure()
        pictures, chunks, told = [], [], []
        node._imagined.publish = pictures.append
        node._poses.publish = chunks.append
        node._diagnostics.publish = told.append
        node._inputs.on_instruction(values["instruction"])
        node._loop._running.set()
        for stamp_ns in (1_000_000_000, 1_200_000_000):
            seen = to_observation(values, stamp_ns)
            node._loop._next_observation = lambda seen=seen: seen
            node._loop.step()
        node._publish_diagnostics()
    finally:
        node.destroy_node()
    assert len(chunks) == len(pictures) == 2
    assert (pictures[0].width, pictures[0].encoding) == (16, "rgb8")
    assert messages.to_ns(pictures[0].header.stamp) == 1_200_000_000
    status = told[-1].status[0]
    values = {each.key: each.value for each in status.values}
    assert status.message == "running"
    number = lambda name: float(values[name])  # noqa: E731
    assert number("expected_tool_error_m") > 0 and number("expected_picture_error") > 0
    assert number("planning_ms") > 0 and number("deadline_missed") in (0.0, 1.0)
