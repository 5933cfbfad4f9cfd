"""A policy in an imagined episode: what it is shown, what is done of its chunks, when it ends."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.interface import ActionChunk, ActionError, InstructionError, Observation
from policies.openvla.state import observation_state
from world_models.acting import ActingConfig, ImaginationError, act, whole_frames
from world_models.dynamics import Decoding
from world_models.state import full_state, to_observation
from world_models.words import InstructionError as UnknownWordsError

RANGE = (np.array([-0.08] * 3 + [-0.4] * 3 + [0.0]), np.array([0.08] * 3 + [0.4] * 3 + [1.0]))
START = Observation(
    images={"front": np.full((32, 32, 3), 90, np.uint8)},
    joint_positions=np.linspace(-0.5, 0.5, 7),
    gripper_opening=1.0,
    ee_position=np.array([0.4, 0.1, 0.2]),
    ee_quaternion=np.array([0.0, 1.0, 0.0, 0.0]),
    instruction="move the bar right",
    stamp_ns=5,
)


class Recorder:
    """Remembers what it saw; its chunks have `rows` actions of `size`."""

    name, cameras = "recorder", ("front",)

    def __init__(self, rows=4, size=0.01, dt_s=0.1, mode="delta"):
        self.seen, self.seeds = [], []
        self.rows, self.size, self.dt_s, self.mode = rows, size, dt_s, mode

    def reset(self, seed=None):
        self.seeds.append(seed)

    def predict_chunk(self, observation):
        self.seen.append(observation)
        actions = np.full((self.rows, 7), self.size)
        return ActionChunk(actions, observation.stamp_ns, self.dt_s, mode=self.mode)


def config(**changes):
    return ActingConfig(**{"max_steps": 12, "action_range": RANGE, "threshold": 0.999, **changes})


def saying(model, monkeypatch, probabilities):
    """Lets the model predict these successes, frame by frame."""
    said = iter(probabilities)
    monkeypatch.setattr(model, "success", lambda latent: np.array([next(said)]), raising=False)


@pytest.mark.parametrize("kind", ["masked", "flow"])
def test_only_the_first_observation_is_real(make_model, kind):
    model, policy = make_model(kind), Recorder(rows=4)
    episode = act(model, policy, START, config(), seed=3)
    assert policy.seeds == [3]
    assert policy.seen[0] is START
    assert len(policy.seen) == 3 and episode.steps == 12  # of 12 steps 4 at a time
    for number, seen in enumerate(policy.seen[1:], start=1):
        assert seen.camera("front").shape == (32, 32, 3)  # as large as the camera's
        assert seen.instruction == START.instruction
        assert seen.stamp_ns == 5 + number * 400_000_000
    assert not np.array_equal(policy.seen[1].camera("front"), START.camera("front"))
    assert len(episode.doubts) == (6 if kind == "masked" else 0)
    assert all(doubt > 0 for doubt in episode.doubts)


def test_it_ends_with_the_first_frame_that_is_likely_done(make_model, monkeypatch):
    model = make_model()
    saying(model, monkeypatch, [0.1, 0.2, 0.8, 0.9])
    episode = act(model, Recorder(rows=4), START, config(threshold=0.5), seed=0)
    assert episode.success and episode.steps == 6  # three frames of two
    assert episode.likeliest == pytest.approx(0.8)
    assert episode.probability == pytest.approx(1 - 0.9 * 0.8 * 0.2)


def test_time_runs_out(make_model, monkeypatch):
    model = make_model()
    saying(model, monkeypatch, [0.1] * 3)
    episode = act(model, Recorder(rows=1), START, config(max_steps=5, threshold=0.5), seed=0)
    assert not episode.success and episode.steps == 6  # whole frames
    assert episode.probability == pytest.approx(1 - 0.9**3)


def test_the_same_seed_is_the_same_episode(make_model):
    model = make_model()
    drawn = config(decoding=Decoding(2, temperature=1.0))
    first, again, other = (act(model, Recorder(), START, drawn, seed) for seed in (1, 1, 2))
    assert first == again
    assert first.probability != other.probability


def test_what_of_a_chunk_is_done_before_the_next_look():
    chunk = np.arange(5.0)[:, None] * np.ones(7)
    done = lambda steps, rows=5: whole_frames(chunk[:rows], steps, 2)[:, 0].tolist()  # noqa: E731
    assert done(2) == [0, 1]
    assert done(3) == [0, 1, 2, 3]  # its own further action fills the frame
    assert done(None) == [0, 1, 2, 3, 4, 4]  # it has none: the last one once more
    assert done(None, rows=1) == [0, 0]
    assert done(9) == done(None)


def test_actions_are_clipped_as_the_robot_clips_them(make_model, monkeypatch):
    model, led = make_model(), []
    imagine = model.next

    def remember(latent, actions, *rest):
        led.append(actions)
        return imagine(latent, actions, *rest)

    monkeypatch.setattr(model, "next", remember)
    act(model, Recorder(rows=2, size=9.0), START, config(max_steps=2), seed=0)
    assert np.array_equal(led[0], np.broadcast_to(RANGE[1], (1, 2, 7)))


def test_a_policy_that_refuses_has_failed(make_model):
    class Refusing(Recorder):
        def predict_chunk(self, observation):
            raise InstructionError("no")

    episode = act(make_model(), Refusing(), START, config(), seed=0)
    assert (episode.success, episode.probability, episode.steps) == (False, 0.0, 0)


def test_what_does_not_fit_is_refused(make_model):
    model = make_model()
    for policy, reason in (
        (Recorder(dt_s=0.2), "expected actions at 10 Hz, .* got 5 Hz"),
        (Recorder(mode="absolute"), "displacements in the base frame, got mode 'absolute'"),
    ):
        with pytest.raises((ImaginationError, ActionError), match=reason):
            act(model, policy, START, config(), seed=0)
    policy = Recorder()
    policy.cameras = ("front", "wrist")
    with pytest.raises(ImaginationError, match="looks at the camera wrist; .* imagines only front"):
        act(model, policy, START, config(), seed=0)
    with pytest.raises(ImaginationError, match="kind latent imagines no pictures"):
        act(make_model("latent"), Recorder(), START, config(), seed=0)
    other = replace(START, instruction="dance")
    with pytest.raises(UnknownWordsError, match="unknown to this world model: dance"):
        act(model, Recorder(), other, config(), seed=0)
    for change in ({"max_steps": 0}, {"execute_steps": 0}, {"threshold": 1.0}):
        with pytest.raises(ValueError, match=next(iter(change))):
            config(**change)


def test_a_state_becomes_the_observation_that_it_came_from():
    rng = np.random.default_rng(0)
    quaternion = np.array([0.05, 0.99, -0.1, 0.02]) / np.linalg.norm([0.05, 0.99, -0.1, 0.02])
    seen = Observation(
        images={"front": rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)},
        joint_positions=rng.normal(size=7),
        gripper_opening=0.3,
        ee_position=rng.normal(size=3),
        ee_quaternion=quaternion,
        instruction="x",
        stamp_ns=1,
    )
    state = full_state(observation_state(seen), seen.joint_positions)
    again = to_observation(state, seen.images, "x", 1)
    for name in ("joint_positions", "gripper_opening", "ee_position", "ee_quaternion"):
        np.testing.assert_allclose(getattr(again, name), getattr(seen, name), atol=1e-6)
    state[6] = 1.2  # models overshoot
    assert to_observation(state, seen.images, "x", 1).gripper_opening == 1.0


def test_doubt_is_entropy_and_surprise_is_log_likelihood(make_model):
    """Against what the first pass says, digit by digit."""
    from world_models.state import context_of

    model = make_model()
    latent = model.encode(context_of([START], [], "front", 16))
    still = np.zeros((1, 2, 7))
    caught = {}
    look = model.dynamics.look_ahead
    model.dynamics.look_ahead = lambda *given: caught.setdefault("ahead", look(*given))
    after = model.next(latent, still)
    with torch.inference_mode():
        logits = model.dynamics.digit_logits(caught["ahead"].features)
    entropy, likelihood = 0.0, 0.0
    for digit, part in enumerate(logits):
        spread = torch.distributions.Categorical(logits=part[0])
        entropy += spread.entropy().mean().item()
        likelihood += spread.log_prob(latent.contents[0, :, digit]).mean().item()
    assert after.doubt.item() == pytest.approx(entropy, rel=1e-5)
    assert model.surprise(latent, still, latent)[0] == pytest.approx(-likelihood, rel=1e-5)
    assert after.repeat(3).doubt.tolist() == [after.doubt.item()] * 3
    flow = make_model("flow")
    latent = flow.encode(context_of([START], [], "front", 16))
    assert flow.surprise(latent, still, latent) is None and flow.next(latent, still).doubt is None
