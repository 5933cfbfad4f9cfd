"""`torch.compile` of a decoding step: `vla-ros serve --compile`, `compile` of `policy_node`."""

import gymnasium
import numpy as np
import pytest

import sim  # noqa: F401
from policies.factory import load_policy
from policies.openvla.config import CheckpointError
from sim.env import to_observation


def test_a_chunk_head_has_no_steps_to_compile():
    with pytest.raises(CheckpointError, match="compile: expected a policy that answers token by"):
        load_policy("openvla-mini-oft", compiled=True)


def test_lerobots_policies_are_not_compiled(tmp_path):
    (tmp_path / "config.json").write_text('{"type": "act"}')
    with pytest.raises(CheckpointError, match="compile: only OpenVLA's decoding can be compiled"):
        load_policy(str(tmp_path), compiled=True)


def test_a_compiler_is_needed(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CXX", "c++-of-mine")
    with pytest.raises(CheckpointError, match=r"expected c\+\+-of-mine or clang\+\+ on the PATH"):
        load_policy("openvla-mini", compiled=True)


def test_a_server_elsewhere_chooses_for_itself():
    with pytest.raises(CheckpointError, match="compile: chosen where the server runs"):
        load_policy("ws://127.0.0.1:1", compiled=True)


@pytest.mark.slow
def test_the_compiled_policy_is_the_policy_whatever_the_sentence(monkeypatch):
    import torch

    plain, compiled = (load_policy("openvla-mini", compiled=each) for each in (False, True))
    compiled_for = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert compiled_for > 0  # while it was loaded: a robot does not wait for it
    for task in ("Lift", "PickPlace", "Push"):
        env = gymnasium.make(f"VlaRos/{task}-v0", cameras=("front",))
        observation = to_observation(env.reset(seed=3)[0])
        expected = plain.predict_chunk(observation).actions
        np.testing.assert_allclose(compiled.predict_chunk(observation).actions, expected, atol=1e-9)
        env.close()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled_for
