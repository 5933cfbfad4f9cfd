"""Who may import whom: policies <- sim, world_models <- vla_ros; only vla_ros knows ROS."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OWN = ("policies", "sim", "world_models", "vla_ros")
MAY_IMPORT = {
    "policies": {"policies"},
    "sim": {"policies", "sim"},
    "world_models": {"policies", "world_models"},
    "vla_ros": set(OWN),
    "launch": set(OWN),
    "scripts": set(),
}
ROS = re.compile(
    r"rclpy|rcl_interfaces|builtin_interfaces|\w+_(msgs|srvs)|rosidl_\w+|ament_\w+|tf2_\w+"
    r"|launch|launch_ros|ros2\w+"
)


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and top-level name of each absolute import, also inside functions and by string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.split(".")[0]
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.lineno, str(node.args[0].value).split(".")[0]


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_folders_import_only_what_lies_below_them(
    sources: dict[Path, ast.Module], folder: str
) -> None:
    wrong = [
        f"{file}:{line} imports {name}"
        for file, tree in sources.items()
        if file.parts[0] == folder
        for line, name in imports(tree)
        if name in OWN and name not in MAY_IMPORT[folder]
    ]
    assert not wrong, "\n".join(wrong)


def test_only_vla_ros_and_launch_files_know_ros(sources: dict[Path, ast.Module]) -> None:
    wrong = [
        f"{file}:{line} imports {name}"
        for file, tree in sources.items()
        if file.parts[0] not in ("vla_ros", "launch")
        for line, name in imports(tree)
        if ROS.fullmatch(name)
    ]
    assert not wrong, "\n".join(wrong)


def test_set_up_uses_the_standard_library_alone(sources: dict[Path, ast.Module]) -> None:
    """It runs before anything is installed."""
    beside = {file.stem for file in sources if file.parts[0] == "scripts"}
    wrong = [
        f"{file}:{line} imports {name}"
        for file, tree in sources.items()
        if file.parts[0] == "scripts"
        for line, name in imports(tree)
        if name not in sys.stdlib_module_names and name not in beside
    ]
    assert not wrong, "\n".join(wrong)


def test_launch_is_not_a_package(root: Path) -> None:
    """An `__init__.py` there would shadow ROS's own package `launch`."""
    assert not list((root / "launch").glob("__init__.py"))


def test_every_import_is_declared(
    root: Path, sources: dict[Path, ast.Module], requirements: dict[str, list[str]]
) -> None:
    """What works only because another package happens to bring it breaks with that package."""
    lines = [line for name in ("core", "menagerie", "ray", "worlds") for line in requirements[name]]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    manifest = ElementTree.parse(root / "package.xml").getroot()
    declared |= {depend.text for depend in manifest.findall("exec_depend") if depend.text}
    providers = importlib.metadata.packages_distributions()
    # What requirements/worlds.txt installs under another name; it is rarely installed here.
    known = {*sys.stdlib_module_names, *OWN, "tests", "libero"}
    missing = []
    for file, tree in sources.items():
        if file.parts[0] == "scripts":
            continue
        for line, name in imports(tree):
            given_by = {canonicalize_name(provider) for provider in providers.get(name, [])}
            if name not in known and not declared & {name, canonicalize_name(name), *given_by}:
                missing.append(f"{file}:{line} imports {name}: add it to requirements/core.txt")
    assert not missing, "\n".join(missing)
