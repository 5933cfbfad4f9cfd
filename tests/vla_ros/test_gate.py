"""The policy node asks a policy whether it may move the robot before it is configured."""

import numpy as np
import pytest

from policies.factory import policy_folder, shipped_policies
from policies.interface import ACTION_DIM, ActionChunk, ToolLimits, UnfitPolicyError
from policies.openvla.config import read_config
from policies.openvla.statistics import ActionStatistics, check_statistics
from vla_ros.limits import FR3_LIMITS
from vla_ros.policy_loading import tool_limits
from vla_ros.robots import known_robots, load_robot


class CheckedPolicy:
    """Of a kind of its own, with a gate of its own; `reason` is why it is refused."""

    name = "checked"
    cameras = ("front",)

    def __init__(self, reason=""):
        self.reason = reason
        self.limits = None

    def reset(self, seed=None):
        pass

    def predict_chunk(self, observation):
        return ActionChunk(np.zeros((1, 7)), observation.stamp_ns, dt_s=0.1)

    def check_fit(self, limits):
        self.limits = limits
        if self.reason:
            raise UnfitPolicyError(self.reason)


class UncheckedPolicy:
    name = "unchecked"
    cameras = ("front",)
    reset = CheckedPolicy.reset
    predict_chunk = CheckedPolicy.predict_chunk


@pytest.fixture(scope="module")
def make_node(own_domain):
    """Makes policy nodes around a policy, alone in a ROS domain."""
    from vla_ros.policy_node import PolicyNode

    with own_domain() as domain:
        domain.init()
        yield lambda policy: domain.keep(PolicyNode(load=lambda parameters: policy))


def test_a_policy_that_is_refused_leaves_the_node_unconfigured_and_says_why(make_node):
    from rclpy.lifecycle import TransitionCallbackReturn

    node = make_node(CheckedPolicy("it sleeps"))
    published = []
    node._diagnostics.publish = published.append
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node._state_machine.current_state[1] == "unconfigured"
    node._publish_diagnostics()
    (status,) = published[-1].status
    assert status.level == b"\x02"  # ERROR
    assert status.message == "refused policy 'openvla-mini-oft': it sleeps"


@pytest.mark.parametrize("policy", [CheckedPolicy(), UncheckedPolicy()])
def test_a_policy_that_passes_or_has_no_gate_is_configured(make_node, policy):
    from rclpy.lifecycle import TransitionCallbackReturn

    node = make_node(policy)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node._state_machine.current_state[1] == "inactive"


def test_a_remote_policys_latencies_are_in_the_diagnostics_and_its_connection_ends(make_node):
    from rclpy.lifecycle import TransitionCallbackReturn

    policy = CheckedPolicy()
    ended = []
    policy.close = lambda: ended.append(True)
    node = make_node(policy)
    published = []
    node._diagnostics.publish = published.append
    node.trigger_configure()
    node._loop.diagnostics = {"remote_network_ms": 2.5}
    node._publish_diagnostics()
    values = {each.key: each.value for each in published[-1].status[0].values}
    assert values["remote_network_ms"] == "2.500"
    node.trigger_cleanup()
    assert ended == [True]
    policy.reason = "it sleeps"  # one that is refused has a connection too
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert ended == [True, True]


def test_the_limits_are_the_controllers(make_node):
    policy = CheckedPolicy()
    make_node(policy).trigger_configure()
    assert policy.limits == FR3_LIMITS.tool
    assert policy.limits == ToolLimits(
        speed_m_s=FR3_LIMITS.speed_m_s,
        turn_rad_s=pytest.approx(0.9 * 5.26),
        step_m=FR3_LIMITS.step_m,
    )


# What the gate says of every policy that ships (docs/executor.md, "Robots").
REFUSED = {"so101": r"is 0.485 m/s; the controller allows 0.4 m/s"}
MEANT = {"so101": {"speed_m_s": 0.5}}  # for the gate of a policy node, as the document has it


@pytest.mark.parametrize("name", known_robots())
@pytest.mark.parametrize("policy", shipped_policies())
def test_which_robots_a_shipped_policy_asks_too_much_of(policy, name):
    config = read_config(policy_folder(policy))
    statistics = ActionStatistics.from_norm_stats(config.norm_stats, None, ACTION_DIM)
    own = load_robot(name).limits.tool
    if name in REFUSED:
        with pytest.raises(UnfitPolicyError, match=REFUSED[name]):
            check_statistics(statistics, config.rate_hz, own)
    values = {"speed_m_s": 0.0, "turn_rad_s": 0.0, "step_m": 0.0} | MEANT.get(name, {})
    check_statistics(statistics, config.rate_hz, tool_limits(values, own))


def test_a_shipped_policy_passes_until_it_is_blind(make_node):
    import torch
    from rclpy.lifecycle import TransitionCallbackReturn

    from policies.factory import load_policy

    policy = load_policy("openvla-mini")
    assert make_node(policy).trigger_configure() == TransitionCallbackReturn.SUCCESS
    with torch.no_grad():
        policy.model.projector.fc3.weight.zero_()
    node = make_node(policy)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    level, reason = node._health
    assert level == "ERROR"
    assert "ignores the image" in reason


def test_the_nodes_parameters_choose_numbers_and_weights():
    from policies.openvla.config import CheckpointError
    from vla_ros.policy_loading import check_fit, load_from_factory

    parameters = {
        "policy": "openvla-mini",
        "device": "cpu",
        "unnorm_key": "",
        "dtype": "float32",
        "quantization": "int8",
        "compile": False,
        "planner": "",
        "patience_s": 0.0,
        "world_model": "",
    }
    policy = load_from_factory(parameters)
    weights = policy.model.language_model.model.layers[0].mlp.up_proj.weight
    assert "Int8" in type(weights).__name__
    check_fit(policy, FR3_LIMITS.tool)
    with pytest.raises(CheckpointError, match="dtype: expected one of float32, bfloat16"):
        load_from_factory({**parameters, "dtype": "float8"})
    with pytest.raises(CheckpointError, match="quantize: expected one of int8"):
        load_from_factory({**parameters, "quantization": "int3"})
