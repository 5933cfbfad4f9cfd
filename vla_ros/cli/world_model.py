"""`vla-ros world-model`: train, measure and watch a model that imagines what actions lead to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from policies.factory import policy_folder
from policies.training.demonstrations import open_dataset
from policies.training.loop import LoopConfig
from policies.training.processes import own_device, rank
from sim import video
from sim.files import write_bytes
from sim.pretraining import CLASS_NAMES
from vla_ros.cli._evaluate_policies import evaluate_policies
from vla_ros.cli._output import check_folder, check_writable, write_result
from vla_ros.cli._play import play
from vla_ros.cli._training import BatchSize, Device, Precision, Processes, SaveEvery, learn
from vla_ros.cli._world_model import (
    KEPT,
    Datasets,
    DecodeSteps,
    HeldOut,
    Model,
    check_picture,
    describe,
    episodes_of,
    load,
    read_config,
    show,
    side_by_side,
)
from vla_ros.errors import UserError
from vla_ros.grounding import labelled_views
from world_models.config import KINDS, PRESETS, Preset
from world_models.dynamics import Decoding
from world_models.evaluation import EvaluationConfig, evaluate_world_model
from world_models.metrics import TowerDistance
from world_models.plots import draw_evaluation
from world_models.recordings import read_kept, split_all
from world_models.timing import TimingConfig, compare_decodings
from world_models.tokenizer import Tokenizer
from world_models.training import TrainConfig, train_world_model

command = typer.Typer(no_args_is_help=True)
command.command("play")(play)
command.command("evaluate-policies")(evaluate_policies)
VIEWS, VIEWS_CAMERA = "views", "front"  # folder, and what they are seen with
TOWER_POLICY = "openvla-mini"  # whose tower sees how alike two frames are

Autoregressive = Annotated[
    bool, typer.Option("--autoregressive", help="Token by token instead, kind masked only.")
]
Temperature = Annotated[float, typer.Option(min=0.0, help="0: always the likeliest.")]


@command.command()
def train(
    dataset: Datasets,
    output: Annotated[Path, typer.Option(help="Folder of the new world model.")],
    initial: Annotated[
        Path | None,
        typer.Option(
            help="World model to go on from, a folder or a shipped one's name; its sizes, scales, "
            "words and camera stay.",
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="World model whose tokenizer new dynamics learn on; it stays as it is unless "
            "--tokenizer-share says otherwise.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help=f"Sizes: one of {', '.join(PRESETS)}.", show_default="two-core"),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help=f"How frames are predicted: one of {', '.join(KINDS)}.", show_default="masked"
        ),
    ] = None,
    actions_per_frame: Annotated[
        int | None,
        typer.Option(min=1, max=8, help="Control steps between imagined frames.", show_default="2"),
    ] = None,
    camera: Annotated[str | None, typer.Option(help="To imagine.", show_default="front")] = None,
    steps: Annotated[int, typer.Option(min=2, help="Of tokenizer and dynamics together.")] = 4000,
    tokenizer_share: Annotated[
        float | None,
        typer.Option(
            help="Of the steps.",
            show_default=f"{TrainConfig.tokenizer_share:g}; with --initial or --tokenizer 0",
        ),
    ] = None,
    views: Annotated[
        int,
        typer.Option(
            min=0,
            help="Labelled views of the simulation on which the tokenizer also learns to keep what "
            "is where; 15000 take some minutes to draw.",
        ),
    ] = 0,
    rollout_share: Annotated[
        float, typer.Option(help="Of the dynamics' steps, the last: they look back on imagination.")
    ] = TrainConfig.rollout_share,
    held_out: Annotated[
        float, typer.Option(help="Last share of each dataset's episodes, not trained on.")
    ] = TrainConfig.validation_share,
    batch_size: BatchSize = 32,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Of the dynamics, at most.")] = 5e-4,
    save_every: SaveEvery = 200,
    seed: Annotated[int, typer.Option(help="Of the weights and the batches.")] = 0,
    device: Device = "cpu",
    precision: Precision = "auto",
    processes: Processes = 1,
) -> None:
    """Train a world model from LeRobotDatasets. Interrupted runs go on where they stopped.

    First the tokenizer learns to write frames down, then the dynamics learn what comes next. Mix
    experts, policies and random actions: a model that has seen only success cannot predict failure.
    """
    known = None if initial is None else read_config(initial)
    if tokenizer is not None:
        if initial is not None:
            raise UserError(f"tokenizer: {initial} has its own; leave it out with --initial")
        if kind == "latent":
            raise UserError("tokenizer: the kind latent has none; expected --kind masked or flow")
    if known is None:
        sizes = _sizes(preset, kind, actions_per_frame)
        if tokenizer is not None:
            sizes = replace(sizes, tokenizer=read_config(tokenizer).tokenizer)
        camera = camera or "front"
    else:
        chosen = {"preset": preset, "kind": kind, "actions-per-frame": actions_per_frame}
        for name, value in {**chosen, "camera": camera}.items():
            if value is not None:
                raise UserError(f"{name}: {initial} has its own; leave it out with --initial")
        sizes, camera = Preset(known.tokenizer, known.dynamics), known.camera
    if tokenizer_share is None:
        begins = initial is None and tokenizer is None
        tokenizer_share = TrainConfig.tokenizer_share if begins else 0.0
    if views and not tokenizer_share:
        raise UserError(
            "views: only a tokenizer that learns can keep what is where; give it a share of the "
            "steps, too: --tokenizer-share"
        )
    if views and sizes.dynamics.kind == "latent":
        raise UserError("views: the kind latent has no tokenizer; expected --kind masked or flow")
    if views and camera != VIEWS_CAMERA:
        raise UserError(f"views: they are of the camera {VIEWS_CAMERA!r}, not of {camera!r}")
    config = TrainConfig(
        sizes,
        tokenizer_share=tokenizer_share,
        rollout_share=rollout_share,
        validation_share=held_out,
    )
    for folder in dataset:  # what does not fit is said before anything starts
        open_dataset(folder, camera)
    loop = LoopConfig(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup_steps=min(100, steps // 10),
        save_every_steps=save_every,
        seed=seed,
        precision=precision,
    )
    if views:
        check_folder(output)
        _draw(output / VIEWS, views, sizes.tokenizer.image_size_px, seed)
    about = (dataset, camera, config, initial, tokenizer, views)
    learn(processes, _world_model, output, loop, device, *about)
    typer.echo(
        f"wrote {output}; measure it with: vla-ros world-model evaluate --model {output} "
        f"--dataset {dataset[0]}"
    )


def _world_model(
    report,
    validated,
    output: Path,
    loop: LoopConfig,
    device: str,
    datasets: list[Path],
    camera: str,
    config: TrainConfig,
    initial: Path | None,
    tokenizer: Path | None,
    views: int,
) -> None:
    """What each process does."""
    console = Console(stderr=True)
    recordings = []
    for folder in datasets:
        if rank() == 0:
            console.print(f"reading {folder}")
        size = config.preset.tokenizer.image_size_px
        recordings.append(read_kept(folder, camera, size, output / KEPT))
        if rank() == 0:
            console.print(f"  {describe(recordings[-1])}")
    training, held_out = split_all(recordings, config.validation_share)

    def tell(step: int, figures: dict[str, float]) -> None:
        report(step, figures)
        if rank() == 0 and all(name.startswith("held_out") for name in figures):
            text = ", ".join(
                f"{name.removeprefix('held_out_')} {value:.3g}" for name, value in figures.items()
            )
            console.print(f"step {step}, held out: {text}")

    where = own_device(device)
    begin = None if initial is None else load(initial, "cpu")
    taken = None if tokenizer is None else load(tokenizer, "cpu").tokenizer
    if taken is not None and not isinstance(taken, Tokenizer):
        raise UserError(f"tokenizer: {tokenizer} is of kind latent and has none")
    seen = None
    if views:
        size = config.preset.tokenizer.image_size_px
        seen = labelled_views(output / VIEWS, views, size, loop.seed)
    train_world_model(
        training, held_out, camera, output, loop, where, tell, config, begin, taken, seen
    )


def _draw(folder: Path, count: int, size_px: int, seed: int) -> None:
    """Labelled views, with a bar; those that exist already are kept."""
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("drawing views", total=count)
        labelled_views(
            folder, count, size_px, seed, lambda done, total: bar.update(task, completed=done)
        )


def _sizes(preset: str | None, kind: str | None, actions_per_frame: int | None) -> Preset:
    name = preset or "two-core"
    sizes = PRESETS.get(name)
    if sizes is None:
        raise UserError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    stride = actions_per_frame or 2
    dynamics = replace(sizes.dynamics, kind=kind or "masked", actions_per_frame=stride)  # type: ignore[arg-type]
    return replace(sizes, dynamics=dynamics)


@command.command()
def evaluate(
    model: Model,
    dataset: Datasets,
    held_out: HeldOut = None,
    horizon: Annotated[int, typer.Option(min=1, help="Frames to imagine, at most.")] = 20,
    decode_steps: DecodeSteps = Decoding.steps,
    autoregressive: Autoregressive = False,
    temperature: Temperature = Decoding.temperature,
    timing: Annotated[
        bool, typer.Option(help="Compare the ways to decode: latency and fidelity.")
    ] = True,
    batch: Annotated[int, typer.Option(min=2, help="Candidates of a planner, for --timing.")] = 16,
    tower: Annotated[
        str, typer.Option(help="Policy whose DINOv2 tower measures likeness; 'none': leave it out.")
    ] = TOWER_POLICY,
    seed: Annotated[int, typer.Option(help="Of what is drawn while imagining.")] = 0,
    most: Annotated[
        int | None,
        typer.Option("--episodes", min=1, help="Look at so many of them at most, evenly spread."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write every figure to this file.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw them into this file (.png).")] = None,
    device: Device = "cpu",
) -> None:
    """Measure a world model on held-out episodes: imagined beside what really came.

    `tower_distance` is a perceptual distance in a small reference network, the policy's own vision
    tower; it is not LPIPS.
    """
    check_writable(json_file, others=[("plot", plot)])
    check_picture(plot)
    decoding = _decoding(decode_steps, autoregressive, temperature)
    loaded = load(model, device)
    measure = None if tower == "none" else TowerDistance(policy_folder(tower), device)
    training, episodes = episodes_of(loaded, model, dataset, held_out)
    episodes = episodes if most is None else episodes.spread(most)
    config = EvaluationConfig(horizon, decoding, seed, CLASS_NAMES)
    console = Console(stderr=True)
    with Progress(console=console) as bar:
        task = bar.add_task("imagining", total=episodes.episodes)
        result = evaluate_world_model(
            loaded,
            training,
            episodes,
            config,
            measure,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    result = {"model": str(model), "datasets": [str(folder) for folder in dataset], **result}
    if timing:
        console.print("comparing the ways to decode")
        result["decodings"] = compare_decodings(loaded, episodes, TimingConfig((1, batch)), seed)
    show(result)
    write_result(json_file, result)
    if plot is not None:
        write_bytes(plot, draw_evaluation(result))
        typer.echo(f"wrote {plot}")


@command.command()
def imagine(
    model: Model,
    dataset: Datasets,
    output: Annotated[Path, typer.Option(help="Video (.mp4): real above, imagined below.")],
    episode: Annotated[
        list[int] | None, typer.Option(help="Number among the held-out ones; repeat it for more.")
    ] = None,
    held_out: HeldOut = None,
    decode_steps: DecodeSteps = Decoding.steps,
    autoregressive: Autoregressive = False,
    temperature: Temperature = Decoding.temperature,
    seed: Annotated[int, typer.Option(help="Of what is drawn while imagining.")] = 0,
    device: Device = "cpu",
) -> None:
    """Write a video of episodes as they were and as the model imagines them from the first frame.

    A bar below fills with the predicted probability that the task has just been done.
    """
    if output.suffix != ".mp4":
        raise UserError(f"output: expected a file ending in .mp4, got {output}")
    if output.is_dir():
        raise UserError(f"output: expected a file, {output} is a folder")
    check_folder(output.parent)
    decoding = _decoding(decode_steps, autoregressive, temperature)
    loaded = load(model, device)
    if not loaded.generative:
        raise UserError(f"{model}: a model of kind 'latent' imagines no pictures")
    _, episodes = episodes_of(loaded, model, dataset, held_out)
    chosen = episode or [0]
    for index in chosen:
        if not 0 <= index < episodes.episodes:
            raise UserError(f"episode: expected 0 to {episodes.episodes - 1}, got {index}")
    frames = np.concatenate(
        [side_by_side(loaded, episodes, index, decoding, seed) for index in chosen]
    )
    rate_hz = max(1, round(loaded.config.rate_hz / loaded.actions_per_frame))
    options = {"crf": str(video.QUALITY_CRF), "preset": video.PRESET}
    write_bytes(output, video.encode(frames, rate_hz, options, "yuv420p"))
    typer.echo(f"wrote {output}: {len(chosen)} episodes, {len(frames)} frames at {rate_hz} Hz")


def _decoding(steps: int, autoregressive: bool, temperature: float) -> Decoding:
    return Decoding(steps, "autoregressive" if autoregressive else "parallel", temperature)
