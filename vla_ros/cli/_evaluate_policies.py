"""`vla-ros world-model evaluate-policies`: policies ranked in imagination, and in MuJoCo."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from policies.factory import check_device, load_policy
from sim import ENV_IDS
from sim.evaluation.work import use_one_thread
from sim.parallel import WorkerError, ordered_map
from sim.policies import NOISY, SCRIPTED, split_noise
from sim.sim2real.plot import plot_rates
from sim.variants import VARIANTS, variant_file
from vla_ros.cli._output import check_writable, made_with, write_result
from vla_ros.cli._training import Device
from vla_ros.cli._world_model import DecodeSteps, HeldOut, Model, episodes_of
from vla_ros.errors import UserError
from vla_ros.planners import model_for_this_robot
from vla_ros.ranking.journal import RankingJournal
from vla_ros.ranking.result import policy_rates, summarize
from vla_ros.ranking.settings import STEPS, Job, Ranking, read_contestant
from vla_ros.ranking.truth import read_truth
from vla_ros.ranking.work import Episode, run_job
from world_models.acting import ActingConfig, ImaginationError, check_imaginable
from world_models.dynamics import Decoding
from world_models.model import ImaginationModel
from world_models.novelty import SIGNALS, learn_usual


def evaluate_policies(
    model: Model,
    policy: Annotated[
        list[str],
        typer.Option(
            help="Name or folder of a checkpoint; repeat it, three times at least. "
            f"{NOISY}LEVEL:POLICY shakes by LEVEL cm, {STEPS}N:POLICY looks again after N actions."
        ),
    ],
    env: Annotated[
        list[str], typer.Option(help=f"One of {', '.join(ENV_IDS)}, or a scene file; repeat it.")
    ],
    dataset: Annotated[
        list[Path],
        typer.Option(
            help="A LeRobotDataset that the model was trained on, whose held-out episodes tell "
            "what is usual; repeat it for all.",
        ),
    ] = [],  # noqa: B006
    held_out: HeldOut = None,
    abstain: Annotated[
        bool, typer.Option(help="Leave out episodes that are unusual for the model.")
    ] = True,
    abstain_share: Annotated[
        float, typer.Option(help="Of usual episodes that may be left out by mistake.")
    ] = 0.05,
    signal: Annotated[
        list[str], typer.Option(help=f"What to abstain by: {', '.join(SIGNALS)}; repeat it.")
    ] = list(SIGNALS),  # noqa: B006, B008
    abstain_in: Annotated[
        list[str],
        typer.Option(help="A changed world in which to measure, too, how often it abstains."),
    ] = [],  # noqa: B006
    episodes: Annotated[int, typer.Option(help="For each --env.")] = Ranking.episodes,
    seed: Annotated[int, typer.Option(help="Of the first episode.")] = Ranking.seed,
    variant: Annotated[
        str, typer.Option(help=f"The world to rank in: {', '.join(VARIANTS)}.")
    ] = Ranking.variant,
    truth: Annotated[
        list[Path],
        typer.Option(help="A result of `vla-ros evaluate --json` on these episodes; repeat it."),
    ] = [],  # noqa: B006
    threshold: Annotated[
        float, typer.Option(help="Predicted success of a frame above which the task is done.")
    ] = ActingConfig.threshold,
    decode_steps: DecodeSteps = Decoding.steps,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result to this file.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with an interrupted --json run; policies may be added."
        ),
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="PNG file for a scatter plot.")] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes.", show_default="CPU cores, 4 at most")
    ] = min(4, os.cpu_count() or 1),
    device: Device = "cpu",
) -> None:
    """Rank policies inside the imagined world, and say how well that predicts MuJoCo.

    Every episode begins with MuJoCo's first frame; from then on the policy sees only what the model
    imagines, until predicted success exceeds the threshold or time is over. Then MuJoCo runs the
    same seeds. Episodes that are unusual for the model are left out of the imagined rates.
    """
    read: list[tuple[str, Path | str | None]] = [
        *(("truth", file) for file in truth),
        *(("env", name) for name in env),
        *(("variant", variant_file(name)) for name in (variant, *abstain_in)),
    ]
    check_writable(json_file, others=[*read, ("plot", plot)])
    check_writable(plot, "plot", read)
    if resume and json_file is None:
        raise UserError("resume: expected --json with it, beside which the journal lies")
    ranking = Ranking(
        contestants=tuple(read_contestant(text) for text in policy),
        world_model=str(model),
        env_ids=tuple(env),
        episodes=episodes,
        seed=seed,
        variant=variant,
        other_variants=tuple(abstain_in),
        threshold=threshold,
        decode_steps=decode_steps,
        device=device,
    )
    check_device(device)
    if abstain and not dataset:
        raise UserError(
            "dataset: expected the datasets that the model was trained on, which tell what is "
            "usual, or --no-abstain"
        )
    if abstain_in and not abstain:
        raise UserError("abstain-in: means nothing with --no-abstain")
    begin_s = time.monotonic()
    known = read_truth(truth, ranking)
    loaded = model_for_this_robot(str(model), device)
    _check_policies(ranking, loaded)
    usual = None
    if abstain:
        _, recordings = episodes_of(loaded, model, dataset, held_out)
        decoding = Decoding(decode_steps)
        usual = learn_usual(loaded, recordings, abstain_share, decoding, signal)
    journal = None if json_file is None else RankingJournal(json_file, ranking, resume)
    try:
        rows = list(_run(list(ranking.jobs(set(known))), workers, journal))
    except WorkerError as error:
        raise UserError(str(error)) from error
    finally:
        if journal is not None:
            journal.close()
    result = {
        **summarize(ranking, rows, known, usual),
        "made_with": made_with(time.monotonic() - begin_s),
    }
    show(result)
    if plot is not None:
        rates = policy_rates(result["policies"], "success_rate")
        plot_rates(plot, rates, result, ("imagined", "in MuJoCo"))
    write_result(json_file, result)
    if journal is not None:
        journal.remove()


def _check_policies(ranking: Ranking, model: ImaginationModel) -> None:
    """Load every policy once: what cannot act in imagination is said before an hour has passed."""
    names = dict.fromkeys(split_noise(each.policy)[1] for each in ranking.contestants)
    for name in names:
        if name in SCRIPTED:
            continue
        try:
            check_imaginable(model, load_policy(name, ranking.device))
        except ImaginationError as error:
            raise UserError(str(error)) from error


def _run(jobs: list[Job], workers: int, journal: RankingJournal | None) -> Iterator[Episode]:
    """What was done for every job, in order: from the journal, or by the workers."""
    todo = [job for job in jobs if journal is None or not journal.has(job)]
    fresh = ordered_map(run_job, todo, workers, use_one_thread)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("imagining", total=len(jobs))
            for job in jobs:
                bar.update(task, description=f"imagining {job.contestant.label}")
                if journal is not None and journal.has(job):
                    row = journal.known[job.key]
                else:
                    row = next(fresh)
                    if journal is not None:
                        journal.add(job.key, row)
                bar.advance(task)
                yield row
    finally:
        fresh.close()  # type: ignore[attr-defined]  # ends the workers


def show(result: dict[str, Any]) -> None:
    """The table and the figures; the JSON file has all."""
    console = Console(highlight=False)
    table = Table(title="imagined and MuJoCo's success, 95 %", box=None, padding=(0, 1))
    table.add_column("policy", overflow="fold")
    for heading in ("imagined", "probability", "MuJoCo", "abstained"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in result["policies"]:
        imagined = row["imagined"]
        probability = "-" if imagined is None else f"{imagined['mean_probability']:.1%}"
        table.add_row(
            row["policy"], _rate(imagined), probability, _rate(row["mujoco"]), str(row["abstained"])
        )
    console.print(table)
    for name, key in (("Pearson's r", "pearson_r"), ("Spearman's rho", "spearman_rho"),
                      ("MMRV", "mmrv")):  # fmt: skip
        interval = result[f"{key}_interval"]
        between = "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
        console.print(
            f"{name}: {_number(result[key])}{between}; "
            f"by probability {_number(result['by_probability'][key])}"
        )
    for reason in dict.fromkeys(result["reasons"].values()):
        console.print(reason, markup=False, style="yellow", soft_wrap=True)
    calibration = result["calibration"]
    console.print(
        f"episodes: ECE {_number(calibration['ece'])}, AUROC {_number(calibration['auroc'])}, "
        f"Brier {_number(calibration['brier'])} (constant {_number(calibration['brier_constant'])}"
        f"), yes and no agree in {_number(calibration['agreement'])}"
    )
    if result["abstention"] is None:
        console.print("nothing was left out as unusual: --no-abstain")
        return
    for name, row in result["abstention"]["by_variant"].items():
        console.print(f"abstained in {name}: {row['abstained']} of {row['episodes']} episodes")


def _rate(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    return f"{row['success_rate']:.1%} ({100 * row['wilson_low']:.0f}-{row['wilson_high']:.0%})"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
