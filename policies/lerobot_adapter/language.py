"""Tokenizers and vision-language models that a checkpoint names, found on this machine.

SmolVLA and pi0 say by a repository's name which tokenizer they were trained with, SmolVLA also how
its VLM is built. LeRobot fetches what is named; here it lies beside the weights or in the Hub's
cache, or `CheckpointError` says what is missing and how to get it.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from lerobot.configs import PreTrainedConfig

from policies.openvla.config import CheckpointError
from policies.openvla.json_file import read_object

TOKENIZER_STEP = "tokenizer_processor"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
VLM_FILES = ("config.json", "processor_config.json", *TOKENIZER_FILES)
VLM_TYPE = "smolvlm"  # what LeRobot builds, whatever the configuration says
CODE = "auto_map"  # where a repository names its Python
ONLY_WORDS = ("tokenizer.json", "vocab.json")  # large, and nothing is looked up in them


def find_part(name: object, what: str, files: tuple[str, ...], folder: Path) -> Path:
    """The folder with the `files` of `what`, which the checkpoint `folder` calls `name`: the last
    part of the name beside the weights, the name as a path, or the Hub's cache.

    Raises `CheckpointError` for what is missing there, or brings code.
    """
    if not isinstance(name, str) or Path(name).name in ("", ".."):
        raise CheckpointError(f"{folder}: {what}: expected a repository's name, got {name!r}")
    beside = folder / Path(name).name
    for found in (beside, Path(name).expanduser(), _in_cache(name, files)):
        if found is not None and found.is_dir():
            break
    else:
        raise CheckpointError(
            f"{folder}: {what} {name!r} is not on this machine, and nothing is fetched while a "
            f"policy is loaded. Expected {beside} with {', '.join(files)}, or the same in the "
            f"Hugging Face cache: {_fetch(name, beside)}"
        )
    absent = [file for file in files if not (found / file).is_file()]
    if absent:
        raise CheckpointError(
            f"{folder}: {what} {name!r}: {found} lacks {', '.join(absent)}: {_fetch(name, beside)}"
        )
    _refuse_code(found)
    return found


def use_local_tokenizer(options: dict[str, Any], folder: Path) -> None:
    """Let the options of a tokenizer's step name a folder of this machine."""
    options["tokenizer_name"] = str(
        find_part(options.get("tokenizer_name"), "tokenizer", TOKENIZER_FILES, folder)
    )


def use_local_vlm(config: PreTrainedConfig, folder: Path) -> None:
    """Let a SmolVLA's configuration name a folder of this machine."""
    if importlib.util.find_spec("num2words") is None:
        raise CheckpointError(
            f"{folder}: the processor of SmolVLA's VLM needs the package num2words: "
            "pip install -e '.[smolvla]' -c constraints.txt"
        )
    vlm = find_part(config.vlm_model_name, "VLM", VLM_FILES, folder)
    kind = read_object(vlm / "config.json").get("model_type")
    if kind != VLM_TYPE:
        raise CheckpointError(
            f"{vlm / 'config.json'}: model_type: expected {VLM_TYPE!r}, got {kind!r}"
        )
    config.vlm_model_name = str(vlm)


@contextlib.contextmanager
def nothing_fetched() -> Iterator[None]:
    """Whatever a checkpoint names, nothing comes from the Hub: as with HF_HUB_OFFLINE=1."""
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = before


def _in_cache(name: str, files: tuple[str, ...]) -> Path | None:
    """The cache's newest snapshot of a repository that has any of the files."""
    for file in files:
        try:
            path = try_to_load_from_cache(name, file)
        except HFValidationError:  # a path, not a repository's name
            return None
        if isinstance(path, str):
            return Path(path).parent
    return None


def _fetch(name: str, to: Path) -> str:
    return f"`hf download {name} --include '*.json' --local-dir {to}`"


def _refuse_code(folder: Path) -> None:
    for file in sorted(folder.glob("*.json")):
        if file.name not in ONLY_WORDS and _has_key(read_object(file), CODE):
            raise CheckpointError(
                f"{file}: it names Python to import ({CODE}), and no code of others is run"
            )


def _has_key(values: object, key: str) -> bool:
    if isinstance(values, dict):
        return key in values or any(_has_key(value, key) for value in values.values())
    return isinstance(values, list) and any(_has_key(value, key) for value in values)
