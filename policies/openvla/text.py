"""Prompts and their tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from policies.openvla.config import CheckpointError, OpenVLAConfig

UNKNOWN, BOS, EOS = "<unk>", "<s>", "</s>"
UNKNOWN_ID, BOS_ID, EOS_ID = 0, 1, 2
LLAMA_EMPTY_ID = 29871  # Llama's "▁"; the original ends every prompt with it


def prompt(instruction: str) -> str:
    """The original's prompt (`experiments/robot/openvla_utils.py`)."""
    return f"In: What action should the robot take to {instruction.lower()}?\nOut:"


def words(instruction: str) -> list[str]:
    """The lower-case words of an instruction, without punctuation."""
    return re.findall(r"[a-z0-9']+", instruction.lower())


def train_tokenizer(instructions: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most `vocab_size` tokens, fitted to prompts.

    Every text can be written with it: what it has not seen falls apart into bytes.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[UNKNOWN, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((prompt(text) for text in instructions), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=UNKNOWN, bos_token=BOS, eos_token=EOS
    )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a checkpoint folder, from its `tokenizer.json` and `added_tokens.json`.

    What else the original publishes says nothing more: `special_tokens_map.json` and
    `tokenizer_config.json` repeat it, and Python files are never run. Raises `CheckpointError`.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        if (folder / "tokenizer.model").is_file():
            raise CheckpointError(
                f"{folder}: expected a tokenizer.json, found only a sentencepiece tokenizer.model; "
                "transformers converts it where sentencepiece is installed: "
                "LlamaTokenizerFast.from_pretrained(FOLDER).save_pretrained(FOLDER)"
            )
        raise CheckpointError(f"{folder}: expected a tokenizer.json, found none")
    try:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(path), unk_token=UNKNOWN, bos_token=BOS, eos_token=EOS
        )
    except Exception as error:  # the Rust library raises a bare Exception
        raise CheckpointError(f"{path}: not a tokenizer ({error})") from None
    _add_tokens(tokenizer, folder / "added_tokens.json")
    return tokenizer


def _add_tokens(tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Tokens that were added after training, by name and id; most files repeat known ones."""
    if not path.is_file():
        return
    try:
        added = sorted(json.loads(path.read_text()).items(), key=lambda item: int(item[1]))
    except (ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path}: expected an object of ids by token ({error})") from None
    for token, token_id in added:
        if token not in tokenizer.get_vocab():
            tokenizer.add_special_tokens(
                {"additional_special_tokens": [token]}, replace_extra_special_tokens=False
            )
        got = tokenizer.convert_tokens_to_ids(token)
        if got != token_id:
            raise CheckpointError(f"{path}: {token!r}: expected the id {token_id}, got {got}")


def check_tokenizer(tokenizer: PreTrainedTokenizerFast, config: OpenVLAConfig, source: str) -> None:
    """Raise `CheckpointError` unless the model has a row for every token, BOS has its id and the
    numbers' tokens are where they can be.

    They are text's rarest, the last of Llama's own, or behind all of text's. A range that is
    shifted decodes every answer to other numbers.
    """
    vocab_size = int(config.text_config["vocab_size"])
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= vocab_size:
        raise CheckpointError(
            f"{source}: the tokenizer has ids up to {largest}, the model's vocabulary "
            f"(text_config.vocab_size) only {vocab_size} tokens"
        )
    bos = tokenizer.convert_tokens_to_ids(BOS)
    if bos != BOS_ID:
        raise CheckpointError(f"{source}: tokenizer: expected {BOS!r} to be {BOS_ID}, got {bos}")
    end = config.tokenizer_vocab_size
    first, own = end - config.n_action_bins, int(tokenizer.vocab_size)  # without added tokens
    if largest >= first and end != own:
        raise CheckpointError(
            f"{source}: the ids from {first} to {end - 1} stand for numbers "
            f"(text_config.vocab_size {vocab_size} less pad_to_multiple_of "
            f"{config.pad_to_multiple_of}, n_action_bins {config.n_action_bins}); expected them to "
            f"end at {own - 1}, the tokenizer's last own token, or to begin behind {largest}, its "
            "last of all"
        )


def encode_prompt(tokenizer: PreTrainedTokenizerFast, instruction: str) -> list[int]:
    """Token ids of the prompt: BOS first, and Llama's empty token last where there is one."""
    ids = tokenizer.encode(prompt(instruction), add_special_tokens=False)
    ids = [BOS_ID, *ids]
    if len(tokenizer) > LLAMA_EMPTY_ID and ids[-1] != LLAMA_EMPTY_ID:
        ids.append(LLAMA_EMPTY_ID)
    return ids
