"""What to rank: checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sim.evaluation import Evaluation
from sim.policies import EXPERTS, split_noise
from sim.sim2real.correlation import MIN_POLICIES
from sim.variants import STANDARD, check_variant
from vla_ros.errors import UserError
from world_models.acting import ActingConfig
from world_models.dynamics import Decoding

STEPS = "steps:"  # steps:N:POLICY
Key = tuple[str, str, str, int]  # label, variant, environment, seed


@dataclass(frozen=True)
class Contestant:
    """One policy of those to be ranked."""

    label: str  # as it was typed
    policy: str  # what `Evaluation.policy` takes
    execute_steps: int | None  # of every chunk; None: all


def read_contestant(text: str) -> Contestant:
    """`POLICY`, or `steps:N:POLICY`: look again after N actions of a chunk. Raises `UserError`."""
    policy, steps = text, None
    if text.startswith(STEPS):
        number, _, policy = text.removeprefix(STEPS).partition(":")
        steps = int(number) if number.isascii() and number.isdigit() else 0
        if steps < 1 or not policy:
            raise UserError(
                f"policy: expected {STEPS}N:POLICY with a whole number of 1 or more, got {text!r}"
            )
    _, base = split_noise(policy)
    if base in EXPERTS:
        raise UserError(
            f"policy: {text!r} reads the simulator's true state, which an imagined world has not; "
            "expected policies that look at images"
        )
    return Contestant(text, policy, steps)


@dataclass(frozen=True)
class Job:
    """One episode of one policy: imagined, and if it is not known how it ends, simulated."""

    ranking: Ranking
    contestant: Contestant
    variant: str
    env_id: str
    seed: int
    simulate: bool

    @property
    def key(self) -> Key:
        return (self.contestant.label, self.variant, self.env_id, self.seed)


@dataclass(frozen=True)
class Ranking:
    """Policies on the same episodes, in a world model and in MuJoCo."""

    contestants: tuple[Contestant, ...]
    world_model: str  # a folder
    env_ids: tuple[str, ...]
    episodes: int = 20  # for each environment
    seed: int = Evaluation.seed
    variant: str = STANDARD
    other_variants: tuple[str, ...] = ()  # in which only abstention is measured
    threshold: float = ActingConfig.threshold
    decode_steps: int = Decoding.steps
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Raises `UserError` and `ValueError` naming what does not fit."""
        labels = [each.label for each in self.contestants]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise UserError(f"policy: expected each once, got {', '.join(twice)} more than once")
        if len(labels) < MIN_POLICIES:
            raise UserError(
                f"policy: expected {MIN_POLICIES} or more to rank, got {len(labels)}; a line goes "
                "through any two points"
            )
        if not self.env_ids:
            raise UserError("env: expected at least one")
        if not 0 < self.threshold < 1:
            raise UserError(f"threshold: expected a number between 0 and 1, got {self.threshold}")
        for variant in self.other_variants:
            check_variant(variant)
        if self.variant in self.other_variants:
            raise UserError(f"abstain-in: {self.variant} is the world that is ranked in")
        for contestant in self.contestants:
            self.evaluation(contestant, self.variant)

    def evaluation(self, contestant: Contestant, variant: str) -> Evaluation:
        """The same in MuJoCo, as `vla-ros evaluate` runs it."""
        return Evaluation(
            policy=contestant.policy,
            env_ids=self.env_ids,
            episodes=self.episodes,
            seed=self.seed,
            device=self.device,
            variant=variant,
            execute_steps=contestant.execute_steps,
        )

    def jobs(self, known: set[tuple[str, str, int]]) -> Iterator[Job]:
        """All episodes; `known`: (label, environment, seed) whose end in MuJoCo is known."""
        worlds = [(each, self.variant) for each in self.contestants]
        worlds += [(self.contestants[0], variant) for variant in self.other_variants]
        for contestant, variant in worlds:
            for env_id in self.env_ids:
                for seed in range(self.seed, self.seed + self.episodes):
                    asked = variant == self.variant
                    simulate = asked and (contestant.label, env_id, seed) not in known
                    yield Job(self, contestant, variant, env_id, seed, simulate)

    def described(self) -> dict[str, Any]:
        """The settings that a result depends on, as they stand in its JSON."""
        return {
            "world_model": self.world_model,
            "env": list(self.env_ids),
            "episodes": self.episodes,
            "seed": self.seed,
            "variant": self.variant,
            "abstain_in": list(self.other_variants),
            "threshold": self.threshold,
            "decode_steps": self.decode_steps,
        }
