"""A checkpoint's fingerprint changes with what the policy does, and with nothing else."""

from pathlib import Path

from policies.factory import CHECKPOINTS
from policies.serving.fingerprint import fingerprint


def write(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_it_is_of_weights_and_configuration_by_name(tmp_path: Path) -> None:
    usual = {"model_safetensors": "weights", "config_json": "{}", "README_md": "words"}
    first = fingerprint(write(tmp_path / "a", **usual))
    assert len(first) == 64
    assert fingerprint(write(tmp_path / "b", **usual | {"README_md": "more words"})) == first
    others = [
        usual | {"model_safetensors": "Weights"},
        usual | {"config_json": "[]"},
        usual | {"adapter_json": ""},
        {"model_safetensors": "{}", "config_json": "weights"},
    ]
    found = {
        fingerprint(write(tmp_path / str(index), **files)) for index, files in enumerate(others)
    }
    assert len(found - {first}) == len(others)


def test_the_policies_that_ship_are_told_apart() -> None:
    folders = [path.parent for path in CHECKPOINTS.glob("*/config.json")]
    assert len({fingerprint(folder) for folder in folders}) == len(folders) > 1
