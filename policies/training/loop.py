"""The training loop: schedule, precision, checkpoints that survive `kill -9`, resume.

A step's batch and augmentation are drawn from a generator seeded with (seed, step, process), so
that a run resumed from a checkpoint goes on with the batches it would have seen.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import timm.layers
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from policies.openvla.checkpoint import write_weights
from policies.training.processes import average_gradients, rank, world_size

STATE = "training_state.safetensors"


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast to learn."""

    steps: int = 4000
    batch_size: int = 64
    learning_rate: float = 8e-4
    warmup_steps: int = 150
    final_rate_share: float = 0.02  # of the learning rate, at the last step (cosine)
    weight_decay: float = 0.02
    gradient_clip: float = 1.0
    save_every_steps: int = 200
    report_every_steps: int = 20
    seed: int = 0
    precision: str = "auto"  # "fp32", "bf16", or "auto": bf16 where the processor is fast at it
    gradient_accumulation: int = 1  # passes that a batch is split into, to save memory

    def __post_init__(self) -> None:
        if self.precision not in ("auto", "fp32", "bf16"):
            raise ValueError(f"precision: expected auto, fp32 or bf16, got {self.precision!r}")
        if self.gradient_accumulation < 1:
            raise ValueError(
                f"gradient_accumulation: expected 1 or more, got {self.gradient_accumulation}"
            )


class TrainingError(RuntimeError):
    """Training cannot start or go on."""


def bf16_is_fast(device: torch.device) -> bool:
    """GPUs, and CPUs with matrix units (AMX); elsewhere bf16 is slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu" or platform.system() != "Linux":
        return False
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def use_plain_attention(model: nn.Module, device: torch.device) -> None:
    """Attention by plain matrix products: its weights can be read, and supervised.

    On a CPU it also trains twice as fast as the fused kernel's backward; elsewhere the towers keep
    the fused one.
    """
    language_model = getattr(model, "language_model", None)
    if language_model is not None:
        language_model.config._attn_implementation = "eager"
    if device.type != "cpu":
        return
    timm.layers.set_fused_attn(False)
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False  # type: ignore[assignment]


def learning_rate(config: LoopConfig, step: int) -> float:
    """Linear warm-up, then a cosine down to `final_rate_share`."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    share = config.final_rate_share
    return config.learning_rate * (share + (1 - share) * 0.5 * (1 + math.cos(math.pi * progress)))


class Loop:
    """Minimises what `loss(rng)` returns over the parameters of `module` that require gradients.

    Only those are saved: of a model with an adapter the adapter alone.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[[np.random.Generator], tuple[Tensor, dict[str, float]]],
        config: LoopConfig,
        folder: Path,
        device: torch.device,
        begun_with: Mapping[str, str | int] | None = None,
    ) -> None:
        """`begun_with` is kept beside the checkpoints; a run can only go on with the same."""
        self.module = module
        self._begun_with = dict(begun_with or {})
        self.config = config
        self.step = 0
        self._loss = loss
        self._folder = folder
        self._device = device
        decayed: list[nn.Parameter] = []
        other: list[nn.Parameter] = []
        for name, value in module.named_parameters():
            if value.requires_grad:
                (decayed if value.ndim >= 2 and "embed" not in name else other).append(value)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": other, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(0.9, 0.95),
            fused=True,
        )
        self._trained = {
            name: value for name, value in module.named_parameters() if value.requires_grad
        }
        self._by_identity = {id(value): name for name, value in self._trained.items()}
        self._bf16 = config.precision == "bf16" or (
            config.precision == "auto" and bf16_is_fast(device)
        )

    @property
    def rows_per_step(self) -> int:
        """This process's share of a batch, in one pass."""
        shares = world_size() * self.config.gradient_accumulation
        return max(1, self.config.batch_size // shares)

    def run(
        self,
        report: Callable[[int, dict[str, float]], None],
        on_save: Callable[[int], None] | None = None,
        until_step: int | None = None,
    ) -> None:
        """Train to the last step, reporting averages and saving on the way."""
        config = self.config
        sums: dict[str, list[float]] = {}  # not every step has every figure
        count, since = 0, time.monotonic()
        last = min(config.steps, until_step or config.steps)
        self.module.train()
        leads = rank() == 0
        while self.step < last:
            rng = np.random.default_rng((config.seed, self.step, rank()))
            dropped = np.random.default_rng((config.seed, self.step, rank(), 0xD209))
            torch.manual_seed(int(dropped.integers(2**63)))  # what dropout draws
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate(config, self.step)
            passes = [self._backward(rng) for _ in range(config.gradient_accumulation)]
            average_gradients(self._trained.values())
            norm = nn.utils.clip_grad_norm_(self._trained.values(), config.gradient_clip)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
            self.step += 1
            for figures in (*passes, {"norm": float(norm)}):
                for name, value in figures.items():
                    sums.setdefault(name, []).append(value)
            count += 1
            if leads and (self.step % config.report_every_steps == 0 or self.step == last):
                now = time.monotonic()
                rate = count * config.batch_size / max(1e-9, now - since)
                report(
                    self.step,
                    {name: sum(values) / len(values) for name, values in sums.items()}
                    | {"samples_per_s": rate},
                )
                sums, count, since = {}, 0, now
            if leads and (self.step % config.save_every_steps == 0 or self.step == last):
                self.save()
                if on_save is not None:
                    self.module.eval()
                    on_save(self.step)
                    self.module.train()

    def _backward(self, rng: np.random.Generator) -> dict[str, float]:
        """One pass: adds its share to the gradients, returns its figures."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            loss, figures = self._loss(rng)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss is {loss.item()} at step {self.step}")
        (loss / self.config.gradient_accumulation).backward()
        return {**figures, "loss": loss.item()}

    # --- checkpoints ------------------------------------------------------------------------

    def save(self) -> None:
        """Write weights and optimizer to `folder/last`; the old ones stay until that is whole."""
        fresh = self._folder / "last.partial"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        tensors = {
            f"weights.{name}": value.detach().contiguous() for name, value in self._trained.items()
        }
        for value, state in self._optimizer.state.items():
            name = self._by_identity[id(value)]
            tensors[f"average.{name}"] = state["exp_avg"].contiguous()
            tensors[f"square.{name}"] = state["exp_avg_sq"].contiguous()
            tensors[f"updates.{name}"] = state["step"]  # fewer than steps where some skip it
        write_weights(tensors, fresh / STATE)
        about = {
            "step": self.step,
            "config": asdict(self.config),
            "begun_with": self._begun_with,
        }
        (fresh / "progress.json").write_text(json.dumps(about))
        last, old = self._folder / "last", self._folder / "last.old"
        shutil.rmtree(old, ignore_errors=True)
        if last.exists():
            os.replace(last, old)
        os.replace(fresh, last)
        shutil.rmtree(old, ignore_errors=True)

    def resume(self) -> bool:
        """Go on from `folder/last` if there is one; whether there was."""
        source = next(
            (
                self._folder / name
                for name in ("last", "last.old")
                if (self._folder / name / "progress.json").is_file()
            ),
            None,
        )
        if source is None:
            return False
        about = json.loads((source / "progress.json").read_text())
        if about["config"]["seed"] != self.config.seed:
            raise TrainingError(
                f"{source}: begun with seed {about['config']['seed']}, not {self.config.seed}; "
                "use that seed or another output folder"
            )
        begun_with = about.get("begun_with", {})
        for name, setting in self._begun_with.items():
            if begun_with.get(name) != setting:
                raise TrainingError(
                    f"{source}: begun with {name} {begun_with.get(name)!r}, not {setting!r}; "
                    "use the same again or another output folder"
                )
        tensors = load_file(source / STATE)
        for name, value in self._trained.items():
            key = f"weights.{name}"
            if key not in tensors or tensors[key].shape != value.shape:
                raise TrainingError(f"{source}: it holds another model ({name!r} does not fit)")
            with torch.no_grad():
                value.copy_(tensors[key])
            if f"average.{name}" in tensors:
                updates = tensors.get(f"updates.{name}", torch.tensor(float(about["step"])))
                self._optimizer.state[value] = {
                    "step": updates.to(self._device),
                    "exp_avg": tensors[f"average.{name}"].to(self._device),
                    "exp_avg_sq": tensors[f"square.{name}"].to(self._device),
                }
        self.step = int(about["step"])
        return True
