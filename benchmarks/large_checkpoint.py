"""Does a checkpoint of OpenVLA-7B's size load without ever being twice in memory?

    python benchmarks/large_checkpoint.py FOLDER [--layers 32] [--predict] [--json FILE]

Writes FOLDER once (15 GB with all 32 layers): the architecture, names, shapes and shards of the
published model, its weights random and in bf16, since this shows memory and time, not skill. Then
loads it in a process of its own, in bf16 on the CPU, and compares the most memory that the process
ever held with the weights' size. `--predict` also decodes the seven tokens of an action. Ends with
status 1 when more than `LIMIT` times the weights were held.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from policies.interface import ACTION_DIM
from policies.openvla.checkpoint import (
    build_empty,
    load_model,
    to_original,
    write_text,
    write_weights,
)
from policies.openvla.config import LLAMA_DEFAULTS, OpenVLAConfig
from policies.openvla.decoding import GreedyDecoder
from policies.openvla.weights import INDEX
from vla_ros.cli._output import check_writable, write_result

SHARD_BYTES = 2**30
VOCABULARY = 32064  # of the published model, with the 64 rows that pad it
PROMPT = tuple(range(1, 25))  # 24 token ids: about as long as a prompt is
LIMIT = 1.5  # times the weights; a part of a shard is mapped and read ahead, twice would be 2


def config(layers: int) -> OpenVLAConfig:
    """OpenVLA-7B's, with so many layers of its language model."""
    statistics = {"q01": [-1.0] * 7, "q99": [1.0] * 7, "mask": [True] * 6 + [False]}
    return OpenVLAConfig(
        text_config={
            **LLAMA_DEFAULTS,
            "vocab_size": VOCABULARY,
            "num_hidden_layers": layers,
            "model_type": "llama",
        },
        norm_stats={"bridge_orig": {"action": statistics}},
    )


def write(folder: Path, layers: int, console: Console) -> int:
    """Random weights in shards of a gigabyte; bytes in all. What is there already stays."""
    if (folder / "config.json").is_file():
        return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    folder.mkdir(parents=True, exist_ok=True)
    about = config(layers)
    shapes = {
        to_original(name): value.shape
        for name, value in build_empty(about, torch.bfloat16, "config").state_dict().items()
    }
    generator = torch.Generator().manual_seed(0)
    places: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}
    for name, shape in shapes.items():
        width = shape[-1] if len(shape) > 1 else 1
        drawn = torch.empty(shape, dtype=torch.bfloat16).uniform_(-1, 1, generator=generator)
        shard[name] = drawn / width**0.5 if width > 1 else torch.ones_like(drawn)
        if sum(each.nbytes for each in shard.values()) >= SHARD_BYTES:
            _write_shard(folder, shard, places, console)
    _write_shard(folder, shard, places, console)
    write_text(folder / INDEX, json.dumps({"metadata": {}, "weight_map": places}))
    write_text(folder / "config.json", json.dumps(about.to_dict(), indent=1))
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _write_shard(
    folder: Path, shard: dict[str, torch.Tensor], places: dict[str, str], console: Console
) -> None:
    if not shard:
        return
    name = f"model-{len(set(places.values())) + 1:05d}.safetensors"
    write_weights(shard, folder / name)
    places.update(dict.fromkeys(shard, name))
    console.print(f"wrote {name}, {len(shard)} weights", style="dim")
    shard.clear()


def measure(folder: str, predict: bool, answers: multiprocessing.Queue) -> None:
    """In a process of its own: load, and say what it took."""
    torch.set_num_threads(os.cpu_count() or 1)
    before = _most_bytes()
    begun_s = time.perf_counter()
    model = load_model(Path(folder), torch.bfloat16)
    result: dict[str, Any] = {
        "load_s": time.perf_counter() - begun_s,
        "before_bytes": before,
        "most_bytes": _most_bytes(),
        "weights_bytes": sum(each.nbytes for each in model.state_dict().values()),
        "parameters": sum(each.numel() for each in model.parameters()),
    }
    if predict:
        size = model.config.image_sizes[0]
        pixels = torch.zeros(1, 6, size, size, dtype=torch.bfloat16)
        decoder = GreedyDecoder(model, ACTION_DIM)
        begun_s = time.perf_counter()
        with torch.inference_mode():
            tokens = decoder.decode(model.embed_context(pixels, None), [PROMPT])
        result |= {
            "action_s": time.perf_counter() - begun_s,
            "tokens": tokens[0].tolist(),
            "most_bytes_with_action": _most_bytes(),
        }
    answers.put(result)


def _most_bytes() -> int:
    """Of memory that this process ever held (Linux: the "high water mark", in kilobytes)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status: expected a line VmHWM")


def main(
    folder: Annotated[Path, typer.Argument(help="Where the checkpoint is or will be.")],
    layers: Annotated[int, typer.Option(min=1, max=32, help="Of the language model.")] = 32,
    predict: Annotated[bool, typer.Option("--predict", help="Decode one action, too.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write it.")] = None,
) -> None:
    """Write, load, measure."""
    console = Console(highlight=False)
    check_writable(json_file)
    stored_bytes = write(folder, layers, console)
    spawn = multiprocessing.get_context("spawn")  # begins with an empty memory
    answers = spawn.Queue()
    process = spawn.Process(target=measure, args=(str(folder), predict, answers))
    process.start()
    while process.is_alive() and answers.empty():
        time.sleep(0.1)
    if answers.empty():
        console.print(f"failed: loading ended with status {process.exitcode}", style="red")
        sys.exit(1)
    result = answers.get()
    process.join()
    result |= {"stored_bytes": stored_bytes}
    held_bytes = result["most_bytes"] - result["before_bytes"]
    result["ratio"] = held_bytes / result["weights_bytes"]
    console.print(
        f"{result['parameters'] / 1e9:.2f} billion parameters, {gib(result['weights_bytes'])}: "
        f"loaded in {result['load_s']:.0f} s; at most {gib(held_bytes)} held beyond the "
        f"{gib(result['before_bytes'])} of the libraries, {result['ratio']:.2f} times the weights"
    )
    if predict:
        console.print(f"one action, seven tokens: {result['action_s']:.1f} s")
    write_result(json_file, result)
    if result["ratio"] > LIMIT:
        console.print(f"failed: expected at most {LIMIT} times the weights", style="red")
        sys.exit(1)


def gib(size_bytes: float) -> str:
    """In words."""
    return f"{size_bytes / 2**30:.2f} GiB"


if __name__ == "__main__":
    typer.run(main)
