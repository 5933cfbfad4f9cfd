"""Policies by name, folder (OpenVLA's layout or LeRobot's) or a server's address."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from policies.interface import ACTION_DIM, Policy
from policies.openvla.config import CheckpointError
from policies.remote.settings import is_remote, parse_remote

CHECKPOINTS = Path(__file__).parent / "checkpoints"
DEFAULT_POLICY = "openvla-mini-oft"  # the better and faster of those that ship
QUANTIZATIONS = ("int8", "int8-dynamic", "int4")  # see `policies.openvla.quantization`
DTYPES = ("float32", "bfloat16")


def shipped_policies() -> tuple[str, ...]:
    """Names of the checkpoints that come with this package."""
    return tuple(sorted(path.parent.name for path in CHECKPOINTS.glob("*/config.json")))


def policy_folder(name_or_path: str) -> Path:
    """The checkpoint folder of a shipped policy's name or of a path.

    Raises `CheckpointError` naming the choices when there is none.
    """
    shipped = CHECKPOINTS / name_or_path
    if name_or_path in shipped_policies():
        return shipped
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder
    raise CheckpointError(
        f"policy: expected a checkpoint folder or one of "
        f"{', '.join(shipped_policies()) or '(none shipped)'}, got {name_or_path!r}"
    )


def check_name(name_or_path: str) -> None:
    """Raise a `ValueError` for what cannot be a policy, as far as its name tells."""
    if is_remote(name_or_path):
        parse_remote(name_or_path)
    else:
        policy_folder(name_or_path)


def checkpoint_kind(folder: Path) -> Literal["openvla", "lerobot"]:
    """Whose folder it is, by its `config.json`: LeRobot's have a `type`.

    The type `openvla` is ours, written by `lerobot-train` (`policies.lerobot_plugin`). A file that
    cannot be read counts as OpenVLA's, whose loader says what is wrong with it.
    """
    try:
        values = json.loads((folder / "config.json").read_text())
        kind = values.get("type")
    except (OSError, ValueError, AttributeError):
        return "openvla"
    return "openvla" if kind in (None, "openvla") else "lerobot"


def load_policy(
    name_or_path: str,
    device: str = "cpu",
    unnorm_key: str | None = None,
    dtype: str = "float32",
    quantization: str | None = None,
    compiled: bool = False,
) -> Policy:
    """Load a policy onto a device. Raises `CheckpointError` for anything that does not fit.

    A server's address (`ws://...`) connects to it instead: `SettingsError`, `RemoteError`; what it
    computes with is chosen there, so of the other arguments only `device` is passed over.
    `unnorm_key` names the data set whose statistics un-normalize; None: the only one. `dtype` is
    what it computes in, one of `DTYPES`; `quantization` one of `QUANTIZATIONS` or None. `compiled`:
    token by token it decodes faster, after half a minute of compiling.
    """
    if is_remote(name_or_path):
        return _remote(name_or_path, unnorm_key, dtype, quantization, compiled)
    folder = policy_folder(name_or_path)
    check_numbers(folder, dtype, quantization, compiled)
    import torch

    check_device(device)
    if checkpoint_kind(folder) == "lerobot":
        from policies.lerobot_adapter.policy import LeRobotPolicy

        return LeRobotPolicy(folder, device, unnorm_key)
    from policies.openvla.policy import OpenVLAPolicy

    policy = OpenVLAPolicy(folder, device, unnorm_key, getattr(torch, dtype))
    if quantization is not None:
        from policies.openvla.quantization import quantize

        quantize(policy.model, quantization)
    if compiled:
        policy.compile()
    return policy


def check_policy(
    name_or_path: str,
    unnorm_key: str | None = None,
    quantization: str | None = None,
    dtype: str = "float32",
) -> None:
    """Raise what `load_policy` would, as far as it can be seen without reading the weights."""
    if is_remote(name_or_path):
        parse_remote(name_or_path)
        return
    folder = policy_folder(name_or_path)
    check_numbers(folder, dtype, quantization)
    if checkpoint_kind(folder) == "lerobot":
        from policies.lerobot_adapter.checkpoint import check_folder

        check_folder(folder, unnorm_key)
        return
    from policies.openvla.checkpoint import plan_model
    from policies.openvla.config import read_config
    from policies.openvla.statistics import ActionStatistics

    ActionStatistics.from_norm_stats(read_config(folder).norm_stats, unnorm_key, ACTION_DIM)
    if not (folder / "adapter_config.json").is_file():
        plan_model(folder)


def check_numbers(
    folder: Path, dtype: str, quantization: str | None, compiled: bool = False
) -> None:
    """What a policy computes in, holds its weights in, and whether it can be compiled."""
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    if dtype != DTYPES[0] and checkpoint_kind(folder) == "lerobot":
        raise CheckpointError(
            f"dtype: LeRobot's policies compute in what they were saved for, got {dtype!r}; only "
            "OpenVLA's networks can be told"
        )
    if quantization not in (None, *QUANTIZATIONS):
        raise CheckpointError(
            f"quantize: expected one of {', '.join(QUANTIZATIONS)}, got {quantization!r}"
        )
    if quantization is not None and checkpoint_kind(folder) == "lerobot":
        raise CheckpointError("quantize: only OpenVLA's networks can be quantized")
    if compiled and checkpoint_kind(folder) == "lerobot":
        raise CheckpointError("compile: only OpenVLA's decoding can be compiled")


def _remote(
    address: str, unnorm_key: str | None, dtype: str, quantization: str | None, compiled: bool
) -> Policy:
    for name, value, default in (
        ("unnorm_key", unnorm_key, None),
        ("dtype", dtype, DTYPES[0]),
        ("quantize", quantization, None),
        ("compile", compiled, False),
    ):
        if value != default:
            raise CheckpointError(f"{name}: chosen where the server runs, got {value!r}")
    from policies.remote.policy import RemotePolicy

    return RemotePolicy(parse_remote(address))


def check_device(device: str) -> None:
    """Raise `CheckpointError` when torch cannot use this device here."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        raise CheckpointError(f"device: {device!r} cannot be used here: {first_line}") from None
