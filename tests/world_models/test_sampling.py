"""What clips say came true, against tiny episodes written by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from world_models.conditioning import Outcome, OutcomeTargets
from world_models.config import TINY, WorldModelConfig
from world_models.recordings import Recordings
from world_models.sampling import ClipSampler, goal_rows, scales_of
from world_models.words import vocabulary

CPU = torch.device("cpu")


def two_episodes(success: tuple[float, float]) -> Recordings:
    """Lengths 5 and 4; `success` of each at its end."""
    ends = np.zeros(9, dtype=np.float32)
    ends[4], ends[8] = success
    rng = np.random.default_rng(0)
    return Recordings(
        images=np.zeros((9, 16, 16, 3), np.uint8),
        states=rng.normal(size=(9, 14)).astype(np.float32),
        actions=rng.normal(size=(9, 7)).astype(np.float32),
        success=ends,
        rewards=np.nan_to_num(ends, nan=np.nan),
        targets=np.full((9, 3), np.nan, np.float32),
        goals=np.full((9, 3), np.nan, np.float32),
        instructions=("lift the cube", "lift the ball"),
        starts=np.array([0, 5, 9]),
        rate_hz=10.0,
        robot="toy",
    )


def sampler_of(recordings: Recordings) -> ClipSampler:
    config = WorldModelConfig(
        TINY.tokenizer, TINY.dynamics, scales_of(recordings), vocabulary(recordings.instructions),
        "front", 10.0, "toy", discount=0.9,
    )  # fmt: skip
    return ClipSampler(recordings, config)


def rows_as_contents(rows):
    return torch.from_numpy(rows)[..., None, None]


def clips(recordings, starts, context):
    return sampler_of(recordings).clip(
        np.random.default_rng(0), np.array(starts), context, rows_as_contents, CPU
    )


def test_frames_are_a_stride_apart_and_stay_in_their_episode():
    clip = clips(two_episodes((1, 0)), [0, 5, 2], 2)
    assert clip.contents[:, :, 0, 0].tolist() == [[0, 2, 4], [5, 7, 8], [2, 4, 4]]
    assert clip.last_known.tolist() == [True, False, False]
    assert not clip.executed[:, 0].any() and clip.executed[:, 1:].all()


def test_targets_by_hand():
    """Two actions a frame. From rows 2 and 7 on the next frame lies beyond the end."""
    targets = clips(two_episodes((1, 0)), [0, 2, 4, 7], 1).targets
    assert targets.success.tolist() == [0, 0, 1, 0]
    assert targets.reward.tolist() == [0, 0, 1, 0]
    assert targets.steps[:3].tolist() == [3, 1, 0] and torch.isnan(targets.steps[3])
    torch.testing.assert_close(targets.value, torch.tensor([0.9**3, 0.9, 1.0, 0.0]))
    assert torch.isnan(targets.state_change).all(1).tolist() == [False, False, True, True]


def test_nobody_knows_how_it_ended():
    targets = clips(two_episodes((np.nan, 1)), [0, 4, 7], 1).targets
    assert targets.success[0] == 0 and torch.isnan(targets.success[1]) and targets.success[2] == 1
    assert torch.isnan(targets.value).tolist() == [True, True, False]
    assert torch.isnan(targets.steps).tolist() == [True, True, False]
    loss, parts = targets.loss(fake_outcome(3), torch.ones(3, dtype=torch.bool))
    assert torch.isfinite(loss) and all(np.isfinite(value) for value in parts.values())


def fake_outcome(rows: int):
    from world_models.conditioning import Outcome

    zeros = torch.zeros(rows)
    return Outcome(zeros, zeros, zeros, zeros, torch.zeros(rows, 14))


def test_goals():
    assert goal_rows(two_episodes((1, 0))).tolist() == [5, np.inf]
    assert np.isnan(goal_rows(two_episodes((np.nan, 1)))[0])


def test_an_ending_cannot_be_told_by_its_actions():
    """The second action behind the end of episode one is one that occurs elsewhere."""
    recordings = two_episodes((1, 0))
    clip = clips(recordings, [4] * 200, 1)
    scaled = sampler_of(recordings)._actions
    distance = np.abs(clip.actions[:, 1, 1].numpy()[:, None] - scaled[None]).max(-1).min(1)
    assert distance.max() < 1e-5
    repeats = np.abs(clip.actions[:, 1, 1].numpy() - scaled[4]).max(1) < 1e-5
    assert 0.35 < repeats.mean() < 0.75


def test_contexts_that_no_episode_can_fill_are_left_out():
    assert sampler_of(two_episodes((1, 0))).contexts == (1, 2, 3)
    short = replace(two_episodes((1, 0)), starts=np.arange(10), instructions=("lift",) * 9)
    assert sampler_of(short).contexts == (1,)


def test_a_clip_can_be_cut():
    clip = clips(two_episodes((1, 0)), [0], 2)
    before = clip.until(2)
    assert before.contents[0, :, 0, 0].tolist() == [0, 2]
    assert torch.isnan(before.targets.success).all()
    assert torch.equal(clip.states_before[0, 2], clip.states[0, 1])
    assert torch.equal(clip.states_before[0, 0], clip.states[0, 0])


@pytest.mark.parametrize("context", [1, 3])
def test_draws_follow_the_generator(context):
    sampler = sampler_of(two_episodes((1, 0)))
    first, second = (
        sampler.draw(np.random.default_rng(7), 5, context, rows_as_contents, CPU) for _ in range(2)
    )
    assert torch.equal(first.contents, second.contents)
    assert torch.equal(first.actions, second.actions)


def test_a_state_that_jumps_costs_no_more_than_its_distance():
    rows = torch.ones(1, dtype=torch.bool)
    known = {name: torch.zeros(1) for name in ("reward", "success", "steps", "value")}
    gradients = []
    for jump in (0.5, 300.0):  # standard deviations
        change = torch.zeros(1, 14, requires_grad=True)
        truth = torch.zeros(1, 14)
        truth[0, 3] = jump
        outcome = Outcome(**known, state_change=change)
        loss, figures = OutcomeTargets(**known, state_change=truth).loss(outcome, rows)
        loss.backward()
        gradients.append(-change.grad[0, 3].item())
        if jump < 1:
            assert figures["state"] == pytest.approx(jump**2)  # as squares
    assert gradients == pytest.approx([1.0, 2.0])
