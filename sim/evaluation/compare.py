"""Two results on the same episodes: who did better, by how much, and whether that can be chance."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sim.evaluation.intervals import (
    Paired,
    clustered_difference,
    mcnemar_exact,
    paired_difference_interval,
    wilson_interval,
)
from sim.evaluation.rates import rate_by_scenes
from sim.evaluation.summary import groups

# What makes an episode: it must agree. Whatever else differs is what is compared.
TASK_FIELDS = ("env", "variant", "seed", "episodes", "blackout", "swap_instruction")
COMPARED_FIELDS = (
    "policy",
    "execute_steps",
    "dtype",
    "quantization",
    "unnorm_key",
    "delay_ms",
    "realtime",
    "late_chunks",
    "asynchronous",
    "planner",
)
Group = tuple[str, str]  # environment, variant


class ComparisonError(ValueError):
    """Two results that are not of the same episodes, or a file that is not a result."""


def read_result(path: Path) -> dict[str, Any]:
    """A file that `vla-ros evaluate --json` wrote. Raises `ComparisonError`."""
    try:
        result = json.loads(path.read_text())
        for part in groups(result):
            for row in part["rows"]:
                if not isinstance(row["seed"], int) or not isinstance(row["success"], bool):
                    raise TypeError("seed and success of every row")
            for name in ("env", "policy"):
                if not isinstance(part[name], str):
                    raise TypeError(name)
    except OSError as error:
        raise ComparisonError(f"{path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ComparisonError(
            f"{path}: expected a file that `vla-ros evaluate --json` wrote ({error})"
        ) from None
    return result


def compare(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The paired comparison of two results, A and B.

    By environment and variant, by variant over its environments, and of all: over several variants
    by scenes, which they share (`clustered_difference`, `clustered_rate`), with `sign_flip_p`.

    `difference` is B's success rate less A's. Raises `ComparisonError` naming what differs.
    """
    a_groups, b_groups = _by_group(first, "A"), _by_group(second, "B")
    for field, place in (("env", 0), ("variant", 1)):
        a_names, b_names = ({key[place] for key in each} for each in (a_groups, b_groups))
        if a_names != b_names:
            raise ComparisonError(_differ(field, sorted(a_names), sorted(b_names)))
    rows: list[dict[str, Any]] = []
    of_variant: dict[str, list[Paired]] = {}
    scenes: dict[tuple[str, int], list[tuple[bool, bool]]] = {}  # of A and B in each variant
    for key, a_part in a_groups.items():
        if key not in b_groups:
            raise ComparisonError(f"env: A has {key[0]} with the variant {key[1]}, B has not")
        outcomes = _outcomes(a_part, b_groups[key])
        pair = _paired(outcomes)
        for seed, outcome in outcomes.items():
            scenes.setdefault((key[0], seed), []).append(outcome)
        of_variant.setdefault(key[1], []).append(pair)
        rows.append({"env": key[0], "variant": key[1], **_figures(pair)})
    a_about, b_about = ({name: result.get(name) for name in COMPARED_FIELDS}
                        for result in (first, second))  # fmt: skip
    total = _figures(_sum(pair for pairs in of_variant.values() for pair in pairs))
    if len(of_variant) > 1:
        total |= _by_scenes(list(scenes.values()))
    return {
        "a": a_about,
        "b": b_about,
        "differs_in": [name for name in COMPARED_FIELDS if a_about[name] != b_about[name]],
        **total,
        "by_variant": [
            {"variant": variant, **_figures(_sum(pairs))} for variant, pairs in of_variant.items()
        ],
        "by_group": rows,
    }


def _sum(pairs: Iterable[Paired]) -> Paired:
    counts = [(pair.both, pair.only_a, pair.only_b, pair.neither) for pair in pairs]
    return Paired(*(sum(column) for column in zip(*counts, strict=True)))


def _by_group(result: dict[str, Any], name: str) -> dict[Group, dict[str, Any]]:
    found: dict[Group, dict[str, Any]] = {}
    for part in groups(result):
        key = (part["env"], part.get("variant", "standard"))
        if key in found:
            raise ComparisonError(
                f"{name} has several results for {key[0]} with the variant {key[1]} (several "
                "delays?): write what is to be compared to files of their own"
            )
        found[key] = part
    return found


def _outcomes(a_part: dict[str, Any], b_part: dict[str, Any]) -> dict[int, tuple[bool, bool]]:
    """What A and B made of each seed."""
    for field in TASK_FIELDS:
        a_value, b_value = a_part.get(field), b_part.get(field)
        if field not in ("env", "variant") and a_value != b_value:
            raise ComparisonError(_differ(field, a_value, b_value))
    a_success, b_success = (
        {row["seed"]: row["success"] for row in part["rows"]} for part in (a_part, b_part)
    )
    if a_success.keys() != b_success.keys():
        raise ComparisonError(
            _differ("rows: seeds", *(f"{min(each)}-{max(each)}" for each in (a_success, b_success)))
        )
    a_words, b_words = (
        {row["seed"]: row.get("instruction") for row in part["rows"]} for part in (a_part, b_part)
    )
    for seed, words in a_words.items():
        if words != b_words[seed]:
            raise ComparisonError(
                _differ(f"rows: instruction of seed {seed}", words, b_words[seed])
            )
    return {seed: (a_success[seed], b_success[seed]) for seed in a_success}


def _by_scenes(scenes: list[list[tuple[bool, bool]]]) -> dict[str, Any]:
    """What takes the place of figures for which every episode would have to be a scene."""
    episodes = [len(each) for each in scenes]
    a_did = [sum(a for a, _ in each) for each in scenes]
    b_did = [sum(b for _, b in each) for each in scenes]
    gains = [b - a for a, b in zip(a_did, b_did, strict=True)]
    low, high, p = clustered_difference(gains, episodes, np.random.default_rng(0))
    return {
        "scenes": len(scenes),
        "a_success": rate_by_scenes(a_did, episodes),
        "b_success": rate_by_scenes(b_did, episodes),
        "difference_low": low,
        "difference_high": high,
        "mcnemar_p": None,
        "sign_flip_p": p,
    }


def _paired(of_seed: dict[int, tuple[bool, bool]]) -> Paired:
    outcomes = list(of_seed.values())
    return Paired(
        both=outcomes.count((True, True)),
        only_a=outcomes.count((True, False)),
        only_b=outcomes.count((False, True)),
        neither=outcomes.count((False, False)),
    )


def _figures(pair: Paired) -> dict[str, Any]:
    low, high = paired_difference_interval(pair)
    successes = {"a": pair.both + pair.only_a, "b": pair.both + pair.only_b}
    rates = {
        name: {
            "success_rate": count / pair.episodes,
            **dict(
                zip(
                    ("wilson_low", "wilson_high"),
                    wilson_interval(count, pair.episodes),
                    strict=True,
                )
            ),
        }
        for name, count in successes.items()
    }
    return {
        "episodes": pair.episodes,
        "a_success": rates["a"],
        "b_success": rates["b"],
        "both": pair.both,
        "only_a": pair.only_a,
        "only_b": pair.only_b,
        "neither": pair.neither,
        "difference": pair.difference,
        "difference_low": low,
        "difference_high": high,
        "mcnemar_p": mcnemar_exact(pair),
    }


def _differ(field: str, a_value: object, b_value: object) -> str:
    return f"{field}: expected the same episodes in both; A has {a_value}, B has {b_value}"
