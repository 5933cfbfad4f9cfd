"""Policies by name or folder."""

from __future__ import annotations

from pathlib import Path

from policies.interface import Policy
from policies.openvla.config import CheckpointError

CHECKPOINTS = Path(__file__).parent / "checkpoints"
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


def load_policy(
    name_or_path: str,
    device: str = "cpu",
    unnorm_key: str | None = None,
    dtype: str = "float32",
) -> Policy:
    """Load a policy onto a device. Raises `CheckpointError` for anything that does not fit.

    `unnorm_key` names the data set whose statistics un-normalize; None: the only one. `dtype` is
    what it computes in, one of `DTYPES`.
    """
    folder = policy_folder(name_or_path)
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    import torch

    from policies.openvla.policy import OpenVLAPolicy

    check_device(device)
    return OpenVLAPolicy(folder, device, unnorm_key, getattr(torch, dtype))


def check_device(device: str) -> None:
    """Raise `CheckpointError` when torch cannot use this device here."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        raise CheckpointError(f"device: {device!r} cannot be used here: {first_line}") from None
