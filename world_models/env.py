"""`VlaRos/Imagined-v0`: a Gymnasium environment in which nothing is real but the first frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from policies.interface import ACTION_DIM, Observation
from policies.spaces import observation_space
from world_models.checkpoint import load_world_model
from world_models.conditioning import MAX_SCALED
from world_models.config import WorldModelConfig
from world_models.dynamics import Decoding
from world_models.interface import NotGenerativeError
from world_models.model import ImaginationModel, Imagined
from world_models.starts import EnvironmentStarts, RecordedStarts, Starts
from world_models.state import context_of, to_observation

OPTIONS = ("observation", "episode", "frame", "instruction")
PictureEdit = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


class ImaginedEnv(gymnasium.Env):
    """A world model as a world. Same seed, same start, same imagination.

    Observations are those of the simulated environments, with the model's one camera at the
    model's size; the robot's state is what the model predicts, kept within the space.
    Action (7,): as there, per control step. The model imagines one frame per `actions_per_frame`
    of them: they are gathered, and until a block is full the last observation is given again, with
    a reward of 0 and `info["imagined"]` False. Out-of-range actions are clipped to where the model
    tells them apart; others (not finite, wrong shape) raise `ValueError`.
    Reward: what the model expects of the block, 1 for success. Terminated: the block did the task
    with a predicted probability of `success_threshold` or more.
    `info` says that none of it was seen: `imagined_frames` since the last real one.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(
        self,
        model: ImaginationModel,
        starts: Starts,
        decoding: Decoding | None = None,
        success_threshold: float = 0.5,
        render_mode: str | None = None,
    ) -> None:
        if not model.generative:
            raise NotGenerativeError("model: kind 'latent' imagines no pictures")
        if not 0 < success_threshold <= 1:
            raise ValueError(f"success_threshold: expected 0 to 1, got {success_threshold}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(
                f"render_mode: expected one of {self.metadata['render_modes']}, got {render_mode!r}"
            )
        self.model, self.starts = model, starts
        self.decoding = decoding or Decoding()
        self.success_threshold = success_threshold
        self.render_mode = render_mode
        self.size_px = model.config.tokenizer.image_size_px
        self.frame_rate_hz = model.config.rate_hz / model.actions_per_frame
        self.observation_space: spaces.Dict = observation_space(
            (model.config.camera,), self.size_px
        )
        self.action_space: spaces.Box = _action_space(model.config)
        self._generator = torch.Generator()
        self._latent: Imagined | None = None
        self._pending: list[NDArray[np.float64]] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Draw a start from the seed.

        `options["observation"]` (`policies.interface.Observation`) replaces the draw;
        `options["episode"]` and `["frame"]` choose among recorded ones; `options["instruction"]`
        replaces the start's.
        """
        super().reset(seed=seed)
        options = options or {}
        unknown = set(options) - set(OPTIONS)
        if unknown:
            raise ValueError(f"options: expected {', '.join(OPTIONS)}, got {sorted(unknown)}")
        start = self._start(options)
        self._generator.manual_seed(int(self.np_random.integers(2**31)))
        self._instruction = options.get("instruction", start.instruction)
        self._begin(start)
        return self._observe(), self._info(imagined=False)

    def _start(self, options: Mapping[str, Any]) -> Observation:
        if "observation" in options:
            return options["observation"]
        if "episode" in options or "frame" in options:
            if not isinstance(self.starts, RecordedStarts):
                raise ValueError("options: 'episode' and 'frame' are for starts from a dataset")
            episode = options.get("episode")
            if episode is None:
                episode = int(self.np_random.integers(len(self.starts)))
            return self.starts.at(episode, options.get("frame", 0))
        return self.starts.draw(self.np_random)

    def _begin(self, seen: Observation) -> None:
        """Go on from what was seen; nothing before it is remembered."""
        context = context_of([seen], [], self.model.config.camera, self.size_px)
        context = replace(context, instructions=(self._instruction,))
        self._latent = self.model.encode(context)
        self._picture = context.images[0, 0]
        self._frames, self._pending = 0, []

    def step(self, action: NDArray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One control step; see the class."""
        latent = self._running()
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (ACTION_DIM,):
            raise ValueError(f"action: expected shape ({ACTION_DIM},), got {action.shape}")
        if not np.all(np.isfinite(action)):
            raise ValueError(f"action: expected finite numbers, got {action}")
        self._pending.append(np.clip(action, self.action_space.low, self.action_space.high))
        if len(self._pending) < self.model.actions_per_frame:
            return self._observe(), 0.0, False, False, self._info(imagined=False)
        block = np.stack(self._pending)[None]  # (1, k, 7)
        self._pending = []
        self._latent = self.model.next(latent, block, self.decoding, self._generator)
        self._picture = self.model.decode(self._latent)[0]
        self._frames += 1
        info = self._info(imagined=True)
        reward = float(self.model.reward(self._latent)[0])
        return self._observe(), reward, info["success"], False, info

    def edit(self, change: PictureEdit) -> tuple[dict[str, Any], dict[str, Any]]:
        """Change the present frame and go on from it: a prompt for an event.

        `change` takes and gives (s, s, 3) uint8. It becomes the only frame that is remembered, or
        the model would take what was before it for the truth; the robot's state stays.
        """
        latent = self._running()
        frames, pending, (state,) = self._frames, self._pending, self.model.state(latent)
        picture = np.asarray(change(self._picture.copy()))
        self._begin(to_observation(state, {self.model.config.camera: picture}, self._instruction))
        self._frames, self._pending = frames, pending
        return self._observe(), self._info(imagined=False)

    def render(self) -> NDArray[np.uint8] | None:
        """The present frame, (s, s, 3) uint8."""
        return None if self.render_mode is None else self._picture.copy()

    def close(self) -> None:
        self.starts.close()

    def _running(self) -> Imagined:
        if self._latent is None:
            raise RuntimeError("call reset() before anything else")
        return self._latent

    def _observe(self) -> dict[str, Any]:
        state = self.model.state(self._running())[0]
        seen = to_observation(state, {}, self._instruction)
        values = {
            self.model.config.camera: self._picture.copy(),
            "joint_positions": seen.joint_positions,
            "gripper_opening": np.array([seen.gripper_opening]),
            "ee_position": seen.ee_position,
            "ee_quaternion": seen.ee_quaternion,
            "instruction": seen.instruction,
        }
        for name, box in self.observation_space.spaces.items():
            if isinstance(box, spaces.Box):
                values[name] = np.clip(values[name], box.low, box.high).astype(box.dtype)
        return values

    def _info(self, imagined: bool) -> dict[str, Any]:
        latent = self._running()
        told = latent.outcome is not None
        probability = float(self.model.success(latent)[0]) if told else 0.0
        return {
            "imagined": imagined,
            "imagined_frames": self._frames,
            "success": probability >= self.success_threshold,
            "success_probability": probability,
            "value": float(self.model.value(latent)[0]) if told else None,
        }


def make_imagined(
    model: str | Path,
    dataset: str | Path | Sequence[str | Path] | None = None,
    env: str | None = None,
    env_settings: Mapping[str, Any] | None = None,
    decode_steps: int = Decoding.steps,
    device: str = "cpu",
    **settings: Any,
) -> ImaginedEnv:
    """What `gymnasium.make("VlaRos/Imagined-v0", model=DIR, ...)` makes.

    Starts are held-out episodes of `dataset` (a LeRobotDataset folder or several), or resets of
    `env`, a Gymnasium environment made with `env_settings`. `settings`: see `ImaginedEnv`.
    """
    loaded = load_world_model(model, device)
    starts = find_starts(loaded.config, dataset, env, env_settings)
    return ImaginedEnv(loaded, starts, Decoding(decode_steps), **settings)


def find_starts(
    config: WorldModelConfig,
    dataset: str | Path | Sequence[str | Path] | None,
    env: str | None,
    env_settings: Mapping[str, Any] | None = None,
) -> Starts:
    """Raises `ValueError` unless exactly one of `dataset` and `env` is given."""
    if (dataset is None) == (env is None):
        raise ValueError("start: expected either a dataset or an env to begin from")
    if env is not None:
        return EnvironmentStarts(env, config.camera, env_settings)
    folders = [dataset] if isinstance(dataset, str | Path) else list(dataset or ())
    return RecordedStarts([Path(folder) for folder in folders], config)


def _action_space(config: WorldModelConfig) -> spaces.Box:
    """As far as the model reads actions; farther out it takes them for the ones at the border."""
    mean, reach = (np.array(getattr(config.scales, f"action_{name}")) for name in ("mean", "std"))
    low, high = mean - MAX_SCALED * reach, mean + MAX_SCALED * reach
    low[6], high[6] = 0.0, 1.0
    return spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
