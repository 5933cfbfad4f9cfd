"""A LeRobot checkpoint, an untrained small ACT, as the policy of a graph of real processes."""

import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.act.processor_act import make_act_pre_post_processors

pytestmark = pytest.mark.slow

ALONG_Y_M = 0.01  # of each action: what the untrained network adds to its mean is small


def test_the_arm_follows_a_lerobot_checkpoint(start_graph, arm_of, tmp_path):
    config = ACTConfig(
        device="cpu",
        chunk_size=4,
        n_action_steps=4,
        dim_model=32,
        n_heads=2,
        dim_feedforward=32,
        n_encoder_layers=1,
        use_vae=False,
        pretrained_backbone_weights=None,
        input_features={
            "observation.state": PolicyFeature(FeatureType.STATE, (8,)),
            "observation.images.front": PolicyFeature(FeatureType.VISUAL, (3, 32, 32)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (7,))},
    )
    mean = torch.tensor([0.0, ALONG_Y_M, 0.0, 0.0, 0.0, 0.0, 1.0])
    stats = {
        "observation.state": {"mean": torch.zeros(8), "std": torch.ones(8)},
        "action": {"mean": mean, "std": torch.full((7,), 1e-3)},
    }
    torch.manual_seed(0)
    ACTPolicy(config).save_pretrained(tmp_path)
    for processor in make_act_pre_post_processors(config, stats):
        processor.save_pretrained(tmp_path)
    with start_graph({"policy": str(tmp_path), "cameras": "front"}) as (processes, operator):
        operator.wait_until_ready(240.0)  # LeRobot is slow to import
        arm = arm_of(operator)
        arm.wait(lambda: arm.joints is not None, "waiting for joint states")
        turned_rad = float(arm.joints[0])
        operator.instruct("anything at all")
        arm.wait(lambda: arm.joints[0] > turned_rad + 0.05, "waiting for the arm to turn to +y")
        assert not processes.ended()
