"""How episodes end in MuJoCo, from files that `vla-ros evaluate --json` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sim.evaluation.compare import read_result
from sim.evaluation.summary import groups
from vla_ros.errors import UserError
from vla_ros.ranking.settings import Contestant, Ranking

Truth = dict[tuple[str, str, int], bool]  # (label, environment, seed): success


def read_truth(files: Sequence[Path], ranking: Ranking) -> Truth:
    """What the files tell of the ranking's episodes.

    Raises `UserError` for a file that tells nothing of them: a mistake would cost an hour.
    """
    truth: Truth = {}
    for file in files:
        found: Truth = {}
        parts = groups(read_result(file))
        for contestant in ranking.contestants:
            for part in parts:
                if _fits(part, contestant, ranking):
                    found |= {
                        (contestant.label, part["env"], row["seed"]): row["success"]
                        for row in part["rows"]
                        if ranking.seed <= row["seed"] < ranking.seed + ranking.episodes
                    }
        if not found:
            raise UserError(
                f"truth: {file}: expected episodes of one of the policies in "
                f"{', '.join(ranking.env_ids)}, variant {ranking.variant}, seeds {ranking.seed} to "
                f"{ranking.seed + ranking.episodes - 1}, without delay; got {_about(parts)}"
            )
        truth |= found
    return truth


def _fits(part: dict[str, Any], contestant: Contestant, ranking: Ranking) -> bool:
    evaluation = ranking.evaluation(contestant, ranking.variant)
    wanted = evaluation.described()
    return part["env"] in ranking.env_ids and all(
        part.get(name) == value for name, value in wanted.items() if name != "seed"
    )


def _about(parts: list[dict[str, Any]]) -> str:
    part = parts[0]
    names = ("policy", "env", "variant", "seed", "execute_steps", "delay_ms")
    return ", ".join(f"{name} {part.get(name)}" for name in names)
