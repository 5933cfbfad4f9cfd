"""A checkpoint that ignores the image, in a graph of real processes: it is not activated."""

import shutil

import pytest
from lifecycle_msgs.srv import GetState
from safetensors.torch import load_file, save_file

from policies.factory import CHECKPOINTS
from vla_ros.operator_node import GraphError

pytestmark = pytest.mark.slow


def test_a_blind_checkpoint_is_not_activated(start_graph, arm_of, tmp_path):
    folder = tmp_path / "blind"
    shutil.copytree(CHECKPOINTS / "openvla-mini", folder)
    shutil.rmtree(folder / "golden", ignore_errors=True)
    weights = load_file(folder / "model.safetensors")
    weights["projector.fc3.weight"].zero_()
    save_file(weights, folder / "model.safetensors")
    with start_graph({"policy": str(folder), "cameras": "front"}) as (processes, operator):
        arm = arm_of(operator)
        with pytest.raises(GraphError, match="policy_node: refused policy .* ignores the image"):
            operator.wait_until_ready(120.0)
        state = arm.call(GetState, "/policy_node/get_state").current_state.label
        assert state == "unconfigured"
        assert not processes.ended()
