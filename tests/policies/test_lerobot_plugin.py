"""OpenVLA as a policy type of LeRobot: its loss, its actions, its folders."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
import torch.nn.functional as F
from lerobot.configs import FeatureType, PolicyFeature, PreTrainedConfig
from lerobot.configs.parser import load_plugin
from lerobot.policies.factory import get_policy_class, make_pre_post_processors

from policies.factory import checkpoint_kind, load_policy
from policies.lerobot_plugin.configuration_openvla import OpenVLALeRobotConfig
from policies.lerobot_plugin.convert import to_examples, to_images, to_observations
from policies.lerobot_plugin.initial import unforeseen
from policies.lerobot_plugin.modeling_openvla import OpenVLALeRobotPolicy
from policies.openvla.checkpoint import save_checkpoint
from policies.openvla.config import CheckpointError, ChunkConfig
from policies.openvla.preprocess import pixel_values
from policies.openvla.state import state_vector
from policies.openvla.text import encode_prompt
from policies.openvla.tokens import ActionTokenizer, to_unit
from policies.training.initial import fresh_model
from policies.training.losses import number_targets
from policies.training.objective import L1_WEIGHT

FRONT = "observation.images.front"


def features(size_px: int = 40) -> dict:
    return {
        "input_features": {
            FRONT: PolicyFeature(FeatureType.VISUAL, (3, size_px, size_px)),
            "observation.state": PolicyFeature(FeatureType.STATE, (8,)),
            "observation.target_position": PolicyFeature(FeatureType.STATE, (3,)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (7,))},
    }


@pytest.fixture
def policy(tiny_folder) -> OpenVLALeRobotPolicy:
    config = OpenVLALeRobotConfig(device="cpu", checkpoint=str(tiny_folder), **features())
    return OpenVLALeRobotPolicy(config).eval()


@pytest.fixture
def batch() -> dict:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 255, size=(3, 40, 40, 3), dtype=np.uint8)
    down = np.tile([0.45, 0.0, 0.2, 0.0, 1.0, 0.0, 0.0, 1.0], (3, 1))
    return {
        FRONT: torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0,
        "observation.state": torch.from_numpy(down).float(),
        "observation.target_position": torch.full((3, 3), 0.41),
        "observation.goal_position": torch.full((3, 3), 0.3),
        "action": torch.from_numpy(rng.uniform(-0.04, 0.04, size=(3, 1, 7))).float(),
        "task": ["pick up the red cube"] * 2 + ["push the blue cylinder to the left"],
    }


def test_lerobot_finds_it_by_its_package():
    load_plugin("policies.lerobot_plugin")
    assert PreTrainedConfig.get_choice_class("openvla") is OpenVLALeRobotConfig
    assert get_policy_class("openvla") is OpenVLALeRobotPolicy
    before, after = make_pre_post_processors(OpenVLALeRobotConfig(device="cpu", **features()))
    assert before.steps and after.steps


def test_images_come_back_as_they_were():
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(1, 3, 1, 1)
    np.testing.assert_array_equal(to_images(every.float() / 255)[0, ..., 0], every[0, 0])


def test_it_acts_as_the_policy_of_its_checkpoint(policy, batch, tiny_folder):
    ours = load_policy(str(tiny_folder))
    chunk = policy.predict_action_chunk(dict(batch))
    assert chunk.shape == (3, 1, 7)
    for row, observation in zip(chunk, to_observations(batch, "front", FRONT), strict=True):
        np.testing.assert_allclose(row, ours.predict_chunk(observation).actions, atol=1e-7)
    policy.reset()
    torch.testing.assert_close(policy.select_action(dict(batch)), chunk[:, 0])


def test_without_a_gaussian_the_loss_is_the_cross_entropy_of_the_next_tokens(policy, batch):
    """Against a calculation with the network alone: all numbers, teacher forcing."""
    policy.config.label_sigma_bins = 0.0
    loss, figures = policy(batch)
    config = policy.model.config
    tokens = ActionTokenizer(config.tokenizer_vocab_size, config.n_action_bins)
    statistics = policy._act().statistics
    named, acted = [], []
    for row in range(3):
        low, high = np.array(config.grounding.low), np.array(config.grounding.high)
        values = np.concatenate(
            [
                to_unit(np.array([0.41, 0.41]), low, high),
                statistics.normalize(batch["action"][row, 0].double().numpy()),
            ]
        )
        prompt = encode_prompt(policy.tokenizer, batch["task"][row])
        ids = [int(token) for token in tokens.encode(values)]
        state = batch["observation.state"][row].double().numpy()
        proprio = to_unit(
            state_vector(state[:3], state[3:7], state[7]),
            np.array(config.proprio.q01),
            np.array(config.proprio.q99),
        )
        hidden = policy.model(
            pixel_values(to_images(batch[FRONT])[row], 28),
            torch.tensor([prompt + ids[:-1]]),
            torch.tensor(proprio, dtype=torch.float32)[None],
        )
        logits = policy.model.language_model.lm_head(hidden[0, -len(ids) :])
        losses = F.cross_entropy(logits, torch.tensor(ids), reduction="none")
        named.append(losses[:2])
        acted.append(losses[2:])
    assert figures["action"] == pytest.approx(torch.stack(acted).mean().item(), rel=1e-4)
    assert figures["grounding"] == pytest.approx(torch.stack(named).mean().item(), rel=1e-4)
    assert loss.item() == pytest.approx(sum(figures.values()), rel=1e-5)


@pytest.mark.parametrize("value", [-1.0, -0.4013, 0.0, 0.5, 0.99999, 1.0])
def test_one_hot_labels_are_the_tokenizers(value):
    tokens = ActionTokenizer(768, 256)
    labels = number_targets(torch.tensor([value], dtype=torch.float64), 256, 0.0)
    assert int(labels.argmax()) == 768 - int(tokens.encode(np.array(value))) - 1
    assert labels.sum() == 1


def test_it_learns(policy, batch):
    policy.train()
    policy.config.augment = False
    policy.config.optimizer_lr = 5e-3
    optimizer = policy.config.get_optimizer_preset().build(policy.get_optim_params())
    losses = []
    for _ in range(25):
        loss, _ = policy(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_what_it_saves_opens_in_both_worlds(policy, batch, tmp_path):
    with torch.no_grad():
        for value in policy.parameters():
            value.mul_(1.1)
    folder = tmp_path / "saved"
    policy.save_pretrained(folder)
    again = OpenVLALeRobotPolicy.from_pretrained(folder)
    assert again.config.checkpoint is None  # it needs the folder it came from no longer
    expected = policy.predict_action_chunk(dict(batch))
    torch.testing.assert_close(again.predict_action_chunk(dict(batch)), expected)
    assert checkpoint_kind(folder) == "openvla"
    ours = load_policy(str(folder))
    assert ours.config == policy.model.config
    (first, *_) = to_observations(batch, "front", FRONT)
    np.testing.assert_allclose(ours.predict_chunk(first).actions, expected[0], atol=1e-7)


def test_a_folder_in_openvlas_layout_may_be_named_as_pretrained(tiny_folder):
    config = OpenVLALeRobotConfig(device="cpu", pretrained_path=tiny_folder)
    assert (config.pretrained_path, config.checkpoint) == (None, str(tiny_folder))


def test_only_what_it_needs_stays_an_input(policy):
    assert set(policy.config.input_features) == {FRONT, "observation.state"}


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (FRONT, f"expected {FRONT} .* there are observation.state, observation.target"),
        ("observation.state", "expected observation.state"),
    ],
)
def test_missing_features_are_named(tiny_folder, missing, message):
    given = features()
    del given["input_features"][missing]
    config = OpenVLALeRobotConfig(device="cpu", checkpoint=str(tiny_folder), **given)
    with pytest.raises(CheckpointError, match=message):
        OpenVLALeRobotPolicy(config)


@pytest.fixture
def published(tmp_path, tiny_config, tiny_tokenizer):
    """A folder as OpenVLA's authors publish them: no state token, statistics of two datasets."""
    tiny = tiny_config.norm_stats["tiny"]
    wide = {"action": {**tiny["action"], "q99": [0.5] * 6 + [1.0]}}
    config = replace(
        tiny_config,
        norm_stats={"bridge_orig": tiny, "fractal": wide},
        proprio=None,
        grounding=None,
        instruction_words=None,
    )
    folder = tmp_path / "published"
    save_checkpoint(folder, fresh_model(config, seed=0).eval(), config, tiny_tokenizer)
    return folder


def picture_only() -> dict:
    given = features()
    given["input_features"] = {FRONT: given["input_features"][FRONT]}
    return given


def test_a_published_checkpoint_opens_with_the_statistics_it_is_told(published, batch, tmp_path):
    """And reads no state: there may be none, or one of other numbers."""
    config = OpenVLALeRobotConfig(
        device="cpu", checkpoint=str(published), unnorm_key="fractal", **picture_only()
    )
    policy = OpenVLALeRobotPolicy(config).eval()
    assert set(policy.config.input_features) == {FRONT}
    theirs = {**batch, "observation.state": torch.zeros(3, 5)}
    bare = {key: value for key, value in batch.items() if key != "observation.state"}
    chunk = policy.predict_action_chunk(theirs)
    torch.testing.assert_close(policy.predict_action_chunk(bare), chunk)
    ours = load_policy(str(published), unnorm_key="fractal")
    observations = to_observations(bare, "front", FRONT, with_state=False)
    for row, observation in zip(chunk, observations, strict=True):
        np.testing.assert_allclose(row, ours.predict_chunk(observation).actions, atol=1e-7)
    loss, _ = policy(bare)
    assert torch.isfinite(loss)
    policy.save_pretrained(tmp_path / "saved")  # which needs no key: it has one
    again = OpenVLALeRobotPolicy.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(again.predict_action_chunk(bare), chunk)
    assert load_policy(str(tmp_path / "saved")).statistics.key == "fractal"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "several datasets, choose one of bridge_orig, fractal"),
        ("x", "unnorm_key: expected one of bridge_orig, fractal, got 'x'"),
    ],
)
def test_which_statistics_is_asked_when_it_opens(published, key, message):
    config = OpenVLALeRobotConfig(
        device="cpu", checkpoint=str(published), unnorm_key=key, **picture_only()
    )
    with pytest.raises(CheckpointError, match=message):
        OpenVLALeRobotPolicy(config)


@pytest.fixture
def chunked(tmp_path, tiny_config, tiny_tokenizer) -> OpenVLALeRobotConfig:
    """Of a model with a head for four actions."""
    config = replace(tiny_config, chunk=ChunkConfig(4))
    folder = tmp_path / "chunked"
    save_checkpoint(folder, fresh_model(config, seed=0).eval(), config, tiny_tokenizer)
    return OpenVLALeRobotConfig(device="cpu", checkpoint=str(folder), augment=False, **features())


@pytest.fixture
def chunks(batch) -> dict:
    """A batch with four actions a row; the last row's episode ends after two."""
    actions = np.random.default_rng(2).uniform(-0.04, 0.04, size=(3, 4, 7))
    padded = torch.zeros(3, 4, dtype=torch.bool)
    padded[2, 2:] = True
    known = {"action": torch.from_numpy(actions).float(), "action_is_pad": padded}
    return batch | known | {"index": torch.tensor([0, 1, 4])}


def test_a_chunk_head_gets_as_many_actions_as_it_answers(chunked, policy, chunks, tmp_path):
    assert policy.config.action_delta_indices == [0]
    assert chunked.action_delta_indices == [0, 1, 2, 3]  # before there is a network
    made = OpenVLALeRobotPolicy(chunked).eval()
    assert made.predict_action_chunk(dict(chunks)).shape == (3, 4, 7)
    made.save_pretrained(tmp_path / "saved")
    assert PreTrainedConfig.from_pretrained(tmp_path / "saved").action_delta_indices == [0, 1, 2, 3]


def test_the_loss_of_a_chunk_head_is_l1_of_all_that_is_known(chunked, chunks):
    """Against a calculation from its own answers. What is unknown may be anything."""
    made = OpenVLALeRobotPolicy(chunked).eval()
    loss, figures = made(chunks)
    actor = made._act()
    wanted = actor.statistics.normalize(chunks["action"].double().numpy())
    answers = actor._predict(to_observations(chunks, "front", FRONT))[:, -28:].reshape(3, 4, 7)
    known = ~chunks["action_is_pad"].numpy()[..., None]
    mean = (np.abs(answers - wanted) * known).sum(0) / known.sum(0)
    assert figures["action"] == pytest.approx(L1_WEIGHT * mean.mean(), rel=1e-4)
    changed = dict(chunks) | {"action": chunks["action"].clone()}
    changed["action"][2, 2:] = 0.03
    assert made(changed)[0].item() == loss.item()
    changed["action"][2, 1] = 0.03
    assert made(changed)[0].item() != loss.item()


def test_what_answers_a_disturbance_is_no_label(chunked, chunks, tmp_path):
    """Row 1 is where the arm was told something else: what follows it was foreseen by nobody."""
    action = np.arange(42, dtype=np.float32).reshape(6, 7)
    executed = action.copy()
    executed[1] += 1
    (tmp_path / "data").mkdir()
    columns = {
        "index": np.arange(6),
        "episode_index": np.array([0, 0, 0, 0, 1, 1]),
        "action": list(action),
        "executed_action": list(executed),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "data" / "file.parquet")
    meta = SimpleNamespace(features=columns, root=tmp_path)
    found = unforeseen(meta, 4)
    expected = [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 1, 1, 1]]
    np.testing.assert_array_equal(found, np.array(expected, bool))
    assert unforeseen(meta, 1) is None
    assert unforeseen(SimpleNamespace(features={"action"}, root=tmp_path), 4) is None
    examples = to_examples(chunks, FRONT, 28, unforeseen=found)
    labelled = ~np.isnan(examples.later_actions[:, 0, :, 0])
    np.testing.assert_array_equal(labelled, [[1, 0, 0], [0, 0, 0], [1, 0, 0]])


def test_with_nothing_to_begin_from_it_says_so():
    with pytest.raises(CheckpointError, match="expected --policy.path, --policy.checkpoint or a"):
        OpenVLALeRobotPolicy(OpenVLALeRobotConfig(device="cpu", **features()))
    with pytest.raises(ValueError, match="label_sigma_bins: expected 0 or more, got -1"):
        OpenVLALeRobotConfig(device="cpu", label_sigma_bins=-1)
