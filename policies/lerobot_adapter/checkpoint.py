"""A LeRobot checkpoint folder: `config.json`, weights, and the two processors beside them.

Only what cannot run code is read: JSON and safetensors. LeRobot itself would import any class that
a processor file names, and fetch ImageNet weights, VLMs and tokenizers; none of it happens here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lerobot.policies  # noqa: F401  registers LeRobot's own types
import torch
from lerobot.configs import PolicyFeature, PreTrainedConfig
from lerobot.policies.factory import get_policy_class
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.processor import PolicyProcessorPipeline, ProcessorStepRegistry
from lerobot.processor.converters import (
    batch_to_transition,
    policy_action_to_transition,
    transition_to_batch,
    transition_to_policy_action,
)
from lerobot.utils.constants import OBS_IMAGES
from safetensors import SafetensorError
from safetensors.torch import load_file

from policies.interface import ACTION_DIM
from policies.lerobot_adapter.features import FeatureMap
from policies.lerobot_adapter.language import (
    TOKENIZER_STEP,
    nothing_fetched,
    use_local_tokenizer,
    use_local_vlm,
)
from policies.openvla.config import CheckpointError
from policies.openvla.json_file import read_object
from policies.openvla.weights import WEIGHTS, refuse_pickled

PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"
DEFAULT_RATE_HZ = 10.0
TRUST = "trust_remote_code"  # an option of some steps, which LeRobot turns on by default
VLAS = ("smolvla", "pi0", "pi05")
RELATIVE = ("relative_actions_processor", "absolute_actions_processor")
# LeRobot builds these with Python that another repository brings, whatever their files say.
RUN_CODE = ("gaussian_actor", "groot", "pi0_fast", "wall_x")


@dataclass(frozen=True)
class LeRobotCheckpoint:
    """What a folder holds, on its device."""

    policy: PreTrainedPolicy
    preprocessor: PolicyProcessorPipeline  # a batch -> what the network takes
    postprocessor: PolicyProcessorPipeline  # normalized actions -> actions
    features: FeatureMap  # what of an observation it takes
    rate_hz: float  # actions per second
    statistics_hash: str  # of what un-normalizes its actions
    reads_words: bool  # whether the instruction reaches the network


def load_checkpoint(folder: Path, device: str = "cpu") -> LeRobotCheckpoint:
    """Load a folder that `lerobot-train` or `save_pretrained` wrote.

    Raises `CheckpointError` for a type that is not registered, a library it needs, inputs and
    actions that are not ours, and files that are missing, damaged, pickled, or name code to import.
    """
    config = read_config(folder, device)
    action = config.action_feature
    if action is None or tuple(action.shape) != (ACTION_DIM,):
        raise CheckpointError(
            f"{folder}: action: expected {ACTION_DIM} numbers, the checkpoint gives "
            f"{None if action is None else tuple(action.shape)}"
        )
    before, before_state = read_processor(folder, PREPROCESSOR, config)
    after, after_state = read_processor(folder, POSTPROCESSOR, config)
    features = FeatureMap.of(supplied(config), _rename_map(before), config.type, str(folder))
    preprocessor = _pipeline(
        folder, before, before_state, device, batch_to_transition, transition_to_batch
    )
    postprocessor = _pipeline(
        folder, after, after_state, "cpu", policy_action_to_transition, transition_to_policy_action
    )
    return LeRobotCheckpoint(
        policy=_load_network(folder, config),
        preprocessor=preprocessor,
        postprocessor=postprocessor,
        features=features,
        rate_hz=find_rate_hz(folder),
        statistics_hash=_hash(after_state),
        reads_words=TOKENIZER_STEP in _step_names(before),
    )


def check_folder(folder: Path, unnorm_key: str | None = None) -> None:
    """Raise `CheckpointError` for what can be seen without reading the network's weights."""
    if unnorm_key is not None:
        raise CheckpointError(
            f"unnorm_key: {folder} has one set of statistics, LeRobot's; got {unnorm_key!r}"
        )
    config = read_config(folder, "cpu")
    _check_network(folder, config)
    read_processor(folder, PREPROCESSOR, config)


def _check_network(folder: Path, config: PreTrainedConfig) -> None:
    if config.use_peft:
        raise CheckpointError(f"{folder}: it is an adapter; merge it into its base policy first")
    if not (folder / WEIGHTS).is_file():
        refuse_pickled(folder)
        raise CheckpointError(f"{folder}: expected {WEIGHTS}, found none")


def _load_network(folder: Path, config: PreTrainedConfig) -> PreTrainedPolicy:
    _check_network(folder, config)
    try:
        policy_class = get_policy_class(config.type)
        # LeRobot prints what it does
        with nothing_fetched(), contextlib.redirect_stdout(io.StringIO()):
            if config.type in VLAS:
                from policies.lerobot_adapter.vla_networks import build

                return build(policy_class, folder, config).eval()
            return policy_class.from_pretrained(folder, config=config, strict=True).eval()
    except SafetensorError as error:
        raise CheckpointError(f"{folder}: not a whole safetensors file ({error})") from None
    except (ImportError, RuntimeError, ValueError, OSError) as error:
        raise CheckpointError(f"{folder}: LeRobot cannot load {config.type!r}: {error}") from error


def read_config(folder: Path, device: str) -> PreTrainedConfig:
    """`config.json` as LeRobot's configuration of its type."""
    values = read_object(folder / "config.json")
    known = PreTrainedConfig.get_known_choices()
    if values.get("type") not in known:
        raise CheckpointError(
            f"{folder / 'config.json'}: type: expected one of {', '.join(sorted(known))}, "
            f"got {values.get('type')!r}"
        )
    if values["type"] in RUN_CODE:
        raise CheckpointError(
            f"{folder / 'config.json'}: type: LeRobot runs Python from other repositories to build "
            f"{values['type']!r}, so it is not opened"
        )
    try:
        config = PreTrainedConfig.from_pretrained(folder, cli_overrides=[f"--device={device}"])
    except (Exception, SystemExit) as error:  # whatever its parser raises for a wrong field
        raise CheckpointError(f"{folder / 'config.json'}: LeRobot refuses it: {error}") from error
    if hasattr(config, "pretrained_backbone_weights"):
        config.pretrained_backbone_weights = None  # the folder has all weights
    if hasattr(config, "compile_model"):
        config.compile_model = False  # a setting of training's: minutes, and torch's for everybody
    if config.type == "smolvla":
        use_local_vlm(config, folder)
    return config


def supplied(config: PreTrainedConfig) -> dict[str, PolicyFeature]:
    """The inputs that somebody must give: all but the cameras that a policy leaves empty."""
    empty = {f"{OBS_IMAGES}.empty_camera_{i}" for i in range(getattr(config, "empty_cameras", 0))}
    inputs = config.input_features or {}
    return {name: feature for name, feature in inputs.items() if name not in empty}


def read_processor(
    folder: Path, file_name: str, config: PreTrainedConfig
) -> tuple[dict[str, Any], dict[str, dict[str, torch.Tensor]]]:
    """A processor's description, checked, and its numbers by state key."""
    path = folder / file_name
    values = read_object(path)
    module = type(config).__module__.replace("configuration_", "processor_")
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module(module)  # registers the steps of this type of policy
    state: dict[str, dict[str, torch.Tensor]] = {}
    for step in values.get("steps", []):
        name = step.get("registry_name")
        if name is None:
            raise CheckpointError(
                f"{path}: a step names the class {step.get('class')!r} to import; only LeRobot's "
                "registered steps are run"
            )
        try:
            step_class = ProcessorStepRegistry.get(name)
        except KeyError:
            raise CheckpointError(f"{path}: step {name!r} is not one of LeRobot's") from None
        options = step.setdefault("config", {})
        if options.get(TRUST):
            raise CheckpointError(
                f"{path}: step {name!r}: {TRUST}: expected false, for no code of others is run; "
                f"got {options[TRUST]!r}"
            )
        if dataclasses.is_dataclass(step_class) and TRUST in {
            option.name for option in dataclasses.fields(step_class)
        }:
            options[TRUST] = False
        if name in RELATIVE and options.get("enabled"):
            raise CheckpointError(
                f"{path}: step {name!r}: enabled: expected false, for actions are displacements "
                "here and not relative to the state; got True"
            )
        if name == TOKENIZER_STEP:
            use_local_tokenizer(options, folder)
        state_file = step.get("state_file")
        if state_file is None:
            continue
        if Path(state_file).name != state_file or not state_file.endswith(".safetensors"):
            raise CheckpointError(
                f"{path}: state_file: expected a safetensors file of this folder, "
                f"got {state_file!r}"
            )
        try:
            state[state_file.removesuffix(".safetensors")] = load_file(folder / state_file)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{folder / state_file}: {error}") from None
    return values, state


def find_rate_hz(folder: Path) -> float:
    """Actions per second: the training dataset's frame rate if it is still there, the training
    environment's, or 10. LeRobot's configuration does not say.
    """
    try:
        training = json.loads((folder / "train_config.json").read_text())
        root = (training.get("dataset") or {}).get("root")
        if root and (info := Path(root) / "meta" / "info.json").is_file():
            return float(json.loads(info.read_text())["fps"])
        if training.get("env"):
            return float(training["env"]["fps"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return DEFAULT_RATE_HZ


def _pipeline(
    folder: Path, values: dict, state: dict, device: str, to_transition: Any, to_output: Any
) -> PolicyProcessorPipeline:
    has_device = "device_processor" in _step_names(values)
    try:
        with nothing_fetched():
            return PolicyProcessorPipeline.from_config(
                values,
                state_dict=state,
                overrides={"device_processor": {"device": device}} if has_device else {},
                to_transition=to_transition,
                to_output=to_output,
            )
    except Exception as error:  # tokenizers know no narrower one
        raise CheckpointError(f"{folder}: {values.get('name')}: {error}") from error


def _step_names(values: dict[str, Any]) -> set[str]:
    return {step["registry_name"] for step in values.get("steps", [])}


def _rename_map(values: dict[str, Any]) -> dict[str, str]:
    for step in values.get("steps", []):
        if step.get("registry_name") == "rename_observations_processor":
            return dict(step.get("config", {}).get("rename_map") or {})
    return {}


def _hash(state: dict[str, dict[str, torch.Tensor]]) -> str:
    """Twelve hexadecimal digits that change with any number in there."""
    digest = hashlib.sha256()
    for key in sorted(state):
        for name in sorted(state[key]):
            digest.update(name.encode())
            digest.update(state[key][name].to(torch.float64).numpy().tobytes())
    return digest.hexdigest()[:12]
