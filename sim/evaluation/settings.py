"""What to measure: checked before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from policies.interface import Policy
from sim import ENV_IDS, check_env_ids, task_name
from sim.env import TabletopEnv
from sim.evaluation.timing import Timing
from sim.policies import SCRIPTED, split_noise
from sim.scenes import descriptions, find_task
from sim.tasks import TASKS
from sim.variants import STANDARD, check_variant

BACKENDS = ("processes", "ray")


class Around(Protocol):
    """Something around the policy, such as a planner; picklable, and hashable by its settings."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """What it looks at beside the policy."""

    @property
    def deadline_ms(self) -> float | None:
        """Of a decision; what comes of one depends on the machine."""

    def described(self) -> dict[str, Any]:
        """The settings that a result depends on."""

    def wrap(self, policy: Policy, env: TabletopEnv) -> Policy:
        """`policy` with it, in `env`."""


@dataclass(frozen=True)
class Evaluation:
    """One policy in one world under one timing."""

    policy: str  # one of `SCRIPTED` or what `load_policy` takes, also as noisy:LEVEL:POLICY
    env_ids: tuple[str, ...]
    episodes: int = 100  # for each environment
    seed: int = 1000
    blackout: bool = False  # the policy sees black images
    swap_instruction: bool = False  # another movable item of the scene is named
    device: str = "cpu"
    dtype: str = "float32"  # what the policy computes in, see `load_policy`
    quantization: str | None = None  # of the policy's weights, see `load_policy`
    workers: int = 1
    execute_steps: int | None = None  # of every chunk, then look again; None: the whole chunk
    video_folder: Path | None = None  # an mp4 of the front camera for every episode
    variant: str = STANDARD  # a key of `sim.variants.VARIANTS`
    unnorm_key: str | None = None  # see `load_policy`
    timing: Timing = field(default_factory=Timing)
    backend: str = "processes"  # where the workers are: here, or in a Ray cluster
    planner: Around | None = None  # around the policy

    def __post_init__(self) -> None:
        check_env_ids(self.env_ids)
        if len(set(self.env_ids)) < len(self.env_ids):
            raise ValueError(f"env: expected each once, got {', '.join(self.env_ids)}")
        if self.episodes < 1:
            raise ValueError(f"episodes: expected 1 or more, got {self.episodes}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        if self.workers < 1:
            raise ValueError(f"workers: expected 1 or more, got {self.workers}")
        if self.execute_steps is not None and self.execute_steps < 1:
            raise ValueError(f"execute_steps: expected 1 or more, got {self.execute_steps}")
        if self.backend not in BACKENDS:
            raise ValueError(
                f"backend: expected one of {', '.join(BACKENDS)}, got {self.backend!r}"
            )
        check_variant(self.variant)
        if self.swap_instruction:
            self._check_swappable()
        self._check_policy()

    def _check_swappable(self) -> None:
        fixed = [env_id for env_id in self.env_ids if not find_task(task_name(env_id)).swappable]
        if fixed:
            choices = [env_id for env_id in ENV_IDS if TASKS[task_name(env_id)].swappable]
            raise ValueError(
                f"swap_instruction: nothing else can be named in {', '.join(fixed)}; "
                f"expected some of {', '.join(choices)}"
            )

    def _check_policy(self) -> None:
        _, policy = split_noise(self.policy)
        if policy in SCRIPTED:
            for name, given in (
                ("dtype", self.dtype != Evaluation.dtype),
                ("quantize", self.quantization is not None),
                ("unnorm_key", self.unnorm_key is not None),
                ("blackout", self.blackout),
            ):
                if given:
                    raise ValueError(
                        f"{name}: {policy} has no network and looks at no image; "
                        "this is for checkpoints"
                    )
            return
        from policies.factory import check_name

        try:
            check_name(policy)
        except ValueError as error:
            raise ValueError(f"{error}; also: {', '.join(SCRIPTED)}") from error

    def described(self) -> dict[str, Any]:
        """The settings that a result depends on, as they stand in its JSON."""
        scenes = descriptions(self.env_ids)
        return {
            **({"scenes": scenes} if scenes else {}),
            "policy": self.policy,
            "seed": self.seed,
            "blackout": self.blackout,
            "swap_instruction": self.swap_instruction,
            "execute_steps": self.execute_steps,
            "dtype": self.dtype,
            "quantization": self.quantization,
            "variant": self.variant,
            "unnorm_key": self.unnorm_key,
            "delay_ms": self.timing.delay_ms,
            "realtime": self.timing.realtime,
            "late_chunks": self.timing.late_chunks,
            "asynchronous": self.timing.asynchronous,
            "planner": None if self.planner is None else self.planner.described(),
        }
