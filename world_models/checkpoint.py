"""World-model folders: `config.json` and `model.safetensors`, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from policies.interface import ACTION_NAMES
from policies.openvla.checkpoint import write_text, write_weights
from policies.openvla.errors import CheckpointError
from policies.openvla.json_file import read_object
from policies.openvla.weights import WEIGHTS, find_weights, read_weight
from world_models.config import WorldModelConfig
from world_models.model import ImaginationModel
from world_models.state import STATE_NAMES

MODEL_TYPE = "vla_ros_world_model"
CHECKPOINTS = Path(__file__).parent / "checkpoints"
DEFAULT_WORLD_MODEL = "world-mini"  # the one that ships


def shipped_world_models() -> tuple[str, ...]:
    """Names of the world models that come with this package."""
    return tuple(sorted(path.parent.name for path in CHECKPOINTS.glob("*/config.json")))


def world_model_folder(name_or_path: str | Path) -> Path:
    """The folder of a shipped world model's name, or the path itself."""
    shipped = str(name_or_path) in shipped_world_models()
    return CHECKPOINTS / name_or_path if shipped else Path(name_or_path)


def save_world_model(
    folder: Path, model: ImaginationModel, dtype: torch.dtype = torch.bfloat16
) -> None:
    """Write a folder; `config.json` comes last, one without it is not finished."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.detach().to("cpu", dtype).contiguous()
        for name, value in model.state_dict().items()
    }
    write_weights(weights, folder / WEIGHTS)
    about = {
        "model_type": MODEL_TYPE,
        "action_names": list(ACTION_NAMES),
        "state_names": list(STATE_NAMES),
        **model.config.to_dict(),
    }
    write_text(folder / "config.json", json.dumps(about, indent=1) + "\n")


def read_world_model_config(name_or_path: str | Path) -> WorldModelConfig:
    """Raises `CheckpointError` for a folder that is none, or for another robot's actions."""
    path = world_model_folder(name_or_path) / "config.json"
    names = ", ".join(shipped_world_models()) or "(none shipped)"
    about = read_object(path, f"a world model's folder or one of {names}")
    if about.pop("model_type", None) != MODEL_TYPE:
        raise CheckpointError(f"{path}: expected a world model (model_type {MODEL_TYPE!r})")
    for name, ours in (("action_names", ACTION_NAMES), ("state_names", STATE_NAMES)):
        given = about.pop(name, None)
        if given != list(ours):
            raise CheckpointError(f"{path}: {name}: expected {list(ours)}, got {given}")
    return WorldModelConfig.from_dict(about, str(path))


def load_world_model(
    name_or_path: str | Path, device: str | torch.device = "cpu"
) -> ImaginationModel:
    """Build and fill a model, computing in float32. Raises `CheckpointError`."""
    folder = world_model_folder(name_or_path)
    model = ImaginationModel(read_world_model_config(folder))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{folder}: expected {WEIGHTS}, found none")
    found = find_weights([folder / WEIGHTS], shapes)
    missing = sorted(set(shapes) - set(found))
    if missing:
        raise CheckpointError(
            f"{folder}: {len(missing)} weights are missing: {', '.join(missing[:5])}"
        )
    weights = {name: read_weight(path, name, torch.float32, "cpu") for name, path in found.items()}
    model.load_state_dict(weights)
    return model.to(device).eval()
