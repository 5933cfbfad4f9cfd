"""Fine-tuning: a trained policy learns from a few demonstrations of another robot, camera or task.

With LoRA only an adapter is trained, saved while training and written to `output/adapter`; the
merged checkpoint stands in `output`. In full every weight is trained, as in `policies.training`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from peft import LoraModel

from policies.finetuning.settings import (
    FinetuneConfig,
    adapted_config,
    uses_original_objective,
    with_grounding_of,
)
from policies.openvla.adapter import (
    BaseReference,
    add_adapter,
    extra_files,
    is_adapter,
    merge_adapter,
    save_adapter,
)
from policies.openvla.checkpoint import load_model, save_checkpoint
from policies.openvla.config import CheckpointError
from policies.openvla.model import OpenVLA
from policies.openvla.statistics import ActionStatistics
from policies.openvla.text import load_tokenizer
from policies.training.batches import BatchMaker
from policies.training.demonstrations import Demonstrations
from policies.training.loop import (
    Loop,
    LoopConfig,
    TrainingError,
    bf16_is_fast,
    use_plain_attention,
)
from policies.training.objective import Learner
from policies.training.processes import rank, steps_of_all, world_size
from policies.training.train import frame_rate_hz, split_demonstrations
from policies.training.validation import Validation, validator

ADAPTER_FOLDER = "adapter"


def finetune(
    base: BaseReference,
    base_folder: Path,
    datasets: Sequence[Demonstrations],
    output: Path,
    loop_config: LoopConfig,
    device: torch.device,
    report: Callable[[int, dict[str, float]], None],
    on_validation: Callable[[int, Validation], None],
    config: FinetuneConfig,
) -> None:
    """Adapt the checkpoint in `base_folder` to `datasets`; resumes what was begun in `output`.

    Writes `output/adapter` (with LoRA) and a whole checkpoint in `output` (unless `config.merge` is
    false). Raises `CheckpointError`, `DatasetError` or `TrainingError`.
    """
    check_base(base_folder)
    check_shares(loop_config)
    frame_rate_hz(datasets)  # refused when they differ
    # What is frozen needs no more digits than it is computed with.
    in_bf16 = config.lora is not None and _computes_in_bf16(loop_config, device)
    model = load_model(base_folder, torch.bfloat16 if in_bf16 else torch.float32)
    model.config = model_config = adapted_config(model.config, datasets, config)
    if model_config.proprio is None:
        model.proprio_projector = None
    tuner = add_adapter(model, config.lora, loop_config.seed) if config.lora else None
    model.to(device)
    if device.type == "cpu":
        use_plain_attention(model, device)
    if config.gradient_checkpointing:
        checkpoint_gradients(model)
    tokenizer = load_tokenizer(base_folder)
    statistics = ActionStatistics.from_norm_stats(model_config.norm_stats, None)
    maker = BatchMaker(
        model_config, tokenizer, statistics, device, uses_original_objective(model_config)
    )
    learner = Learner(model, maker, tokenizer)
    training, validation = (
        with_grounding_of(part, model_config)
        for part in split_demonstrations(datasets, config.validation_share)
    )

    def loss(rng: np.random.Generator):
        rows = rng.integers(len(training), size=loop.rows_per_step)
        return learner.loss(training, maker.make(training, rows, rng))

    begun_with: dict[str, str | int] = {
        "base": base.weights_hash[:12],
        "statistics": statistics.hash,
        "rank": config.lora.rank if config.lora else "full",
        "alpha": config.lora.effective_alpha if config.lora else "full",
    }
    loop = Loop(learner, loss, loop_config, output, device, begun_with)
    loop.resume()
    steps = steps_of_all(loop.step)
    if len(set(steps)) > 1:
        raise TrainingError(
            f"{output}: the processes would go on at steps {steps}; is it a folder that all "
            "machines share?"
        )
    loop.run(report, validator(learner, maker, training, validation, on_validation, in_bf16))
    if rank() == 0:
        _write(output, model, tuner, base, base_folder, config, loop.step)


def check_base(folder: Path) -> None:
    """Refuse a base that is an adapter itself."""
    if is_adapter(folder):
        raise CheckpointError(
            f"{folder}: expected a whole checkpoint to adapt, this is an adapter; merge it first: "
            f"vla-ros merge --adapter {folder} --output DIR"
        )


def check_shares(config: LoopConfig) -> None:
    """Refuse a batch that cannot be shared evenly among processes and passes."""
    shares = world_size() * config.gradient_accumulation
    if config.batch_size % shares:
        raise TrainingError(
            f"batch size: expected a multiple of {shares} ({world_size()} processes x "
            f"{config.gradient_accumulation} passes), got {config.batch_size}"
        )


def checkpoint_gradients(model: OpenVLA) -> None:
    """Compute activations again in the backward pass in place of keeping them."""
    for tower in (model.vision_backbone.featurizer, model.vision_backbone.fused_featurizer):
        tower.set_grad_checkpointing(True)
    model.language_model.gradient_checkpointing_enable({"use_reentrant": False})


def card(base: BaseReference, config: FinetuneConfig, steps: int) -> str:
    """The README.md of the new checkpoint."""
    how = f"LoRA of rank {config.lora.rank}" if config.lora else "full fine-tuning"
    return (
        f"# {config.dataset_name}\n\nAdapted from `{Path(base.policy).name}` (weights "
        f"{base.weights_hash[:12]}) with `vla-ros finetune`: {how}, {steps} steps.\n"
    )


def _write(
    output: Path,
    model: OpenVLA,
    tuner: LoraModel | None,
    base: BaseReference,
    base_folder: Path,
    config: FinetuneConfig,
    steps: int,
) -> None:
    dtype = torch.bfloat16 if config.merged_bf16 else torch.float32
    tokenizer = load_tokenizer(base_folder)
    text = card(base, config, steps)
    if tuner is None:
        files = extra_files(base_folder, model.config) | {"README.md": text}
        save_checkpoint(output, model, model.config, tokenizer, dtype, files)
        return
    save_adapter(output / ADAPTER_FOLDER, tuner, base, model.config, tokenizer)
    if config.merge:
        merge_adapter(output / ADAPTER_FOLDER, output, dtype, str(base_folder), text)


def _computes_in_bf16(config: LoopConfig, device: torch.device) -> bool:
    """On a CPU only when asked for: there the memory is worth less than the digits."""
    fast = device.type == "cuda" and bf16_is_fast(device)
    return config.precision == "bf16" or (config.precision == "auto" and fast)
