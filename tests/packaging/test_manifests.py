"""package.xml, setup.py, requirements/ and constraints.txt tell one story."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@pytest.fixture(scope="module")
def manifest(root: Path) -> ElementTree.Element:
    return ElementTree.parse(root / "package.xml").getroot()


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, str]:
    lines = (root / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("field", ["name", "version", "license", "description"])
def test_package_xml_and_setup_py_agree(
    manifest: ElementTree.Element, setup_arguments: dict[str, Any], field: str
) -> None:
    assert setup_arguments[field] == manifest.findtext(field)


def test_it_is_an_ament_python_package(
    root: Path, manifest: ElementTree.Element, setup_arguments: dict[str, Any]
) -> None:
    assert manifest.get("format") == "3"
    assert manifest.findtext("export/build_type") == "ament_python"
    data_files = dict(setup_arguments["data_files"])
    # The empty file by which `ros2 run` and `ros2 launch` find the package.
    assert data_files["share/ament_index/resource_index/packages"] == ["resource/vla_ros"]
    assert (root / "resource" / "vla_ros").is_file()
    assert "package.xml" in data_files["share/vla_ros"]
    for folder, pattern in (
        ("launch", "*.py"),
        ("config", "*.*"),
        ("config/randomization", "*.*"),
        ("config/robots", "*.*"),
        ("config/scenes", "*.*"),
        ("config/worlds", "*.*"),
    ):
        present = sorted(f"{folder}/{file.name}" for file in (root / folder).glob(pattern))
        assert data_files[f"share/vla_ros/{folder}"] == present
    assert "$base/lib/vla_ros" in (root / "setup.cfg").read_text()


def test_every_package_is_installed(root: Path, setup_arguments: dict[str, Any]) -> None:
    folders = ("policies", "sim", "world_models", "vla_ros")
    expected = {
        ".".join(file.parent.relative_to(root).parts)
        for folder in folders
        for file in (root / folder).rglob("__init__.py")
    }
    assert set(setup_arguments["packages"]) == expected
    stray = [
        str(file.relative_to(root))
        for folder in folders
        for file in (root / folder).rglob("*.py")
        if not (file.parent / "__init__.py").exists()
    ]
    assert not stray, f"modules in folders without __init__.py are not installed: {stray}"


def test_console_scripts_lead_somewhere(root: Path, setup_arguments: dict[str, Any]) -> None:
    for script in setup_arguments["entry_points"]["console_scripts"]:
        name, target = (part.strip() for part in script.split("="))
        module, function = target.split(":")
        path = root.joinpath(*module.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        assert file.is_file(), f"{name}: {file} does not exist"
        defined = {
            found for node in ast.parse(file.read_text()).body for found in names_defined_by(node)
        }
        assert function in defined, f"{name}: {file} defines no {function}"


def names_defined_by(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Assign):
        return [ast.unparse(target) for target in node.targets]
    return []


def test_ros_is_an_extra(
    setup_arguments: dict[str, Any], requirements: dict[str, list[str]]
) -> None:
    """Where a ROS distribution is installed, its own rclpy must not be shadowed."""
    assert not [line for line in setup_arguments["install_requires"] if line.startswith("ros-")]
    assert setup_arguments["extras_require"]["ros"] == requirements["ros"]
    assert setup_arguments["install_requires"] == requirements["core"]


def test_constraints_are_exact_and_name_no_address(pins: dict[str, str]) -> None:
    for name, version in pins.items():
        assert re.fullmatch(r"[a-z0-9-]+", name), name
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{name}=={version}"


def test_requirement_files_name_no_address_or_path(root: Path) -> None:
    files = [root / "constraints.txt", root / "setup.cfg", *(root / "requirements").glob("*.txt")]
    for file in files:
        text = file.read_text()
        assert not re.search(r"://|^\s*-|file:|@\s", text, re.MULTILINE), file


def test_pins_lie_within_the_requirements(
    pins: dict[str, str], requirements: dict[str, list[str]]
) -> None:
    # worlds.txt has pins of its own: its packages go beside the rest with `pip install --no-deps`.
    files = {name: lines for name, lines in requirements.items() if name != "worlds"}
    for line in (line for lines in files.values() for line in lines):
        requirement = Requirement(line)
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin, f"constraints.txt does not pin {requirement.name}"
        assert requirement.specifier.contains(pin), f"{requirement}, but the pin is {pin}"


def test_worlds_are_pinned_in_their_own_file(requirements: dict[str, list[str]]) -> None:
    for line in requirements["worlds"]:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line), line


def test_constraints_cover_every_dependency(
    pins: dict[str, str], requirements: dict[str, list[str]]
) -> None:
    """Follows what the installed packages themselves require, down to the last."""
    names = ["core", "dev"] if os.environ.get("ROS_DISTRO") else ["core", "dev", "ros"]
    queue = [Requirement(line) for name in names for line in requirements[name]]
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        extras = frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        assert name in pins, f"constraints.txt does not pin {name}: run `make constraints`"
        for line in importlib.metadata.requires(name) or []:
            further = Requirement(line)
            marker = further.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in {"", *extras}):
                queue.append(further)
