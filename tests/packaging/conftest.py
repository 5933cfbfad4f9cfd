"""What the tests of the package share: where its files are and how each is read."""

from __future__ import annotations

import ast
import importlib
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import setuptools

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("policies", "sim", "world_models", "vla_ros", "launch", "scripts", "benchmarks")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def sources() -> dict[Path, ast.Module]:
    """Every source file, as a path from the root, with its syntax tree; tests are left out."""
    files = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
    return {file.relative_to(ROOT): ast.parse(file.read_text()) for file in files}


@pytest.fixture(scope="session")
def setup_arguments() -> dict[str, Any]:
    """What setup.py hands to setuptools."""
    captured: dict[str, Any] = {}
    original = setuptools.setup
    setuptools.setup = captured.update  # type: ignore[assignment]
    try:
        runpy.run_path(str(ROOT / "setup.py"))
    finally:
        setuptools.setup = original
    return captured


@pytest.fixture(scope="session")
def requirements() -> dict[str, list[str]]:
    """The lines of each file in requirements/, without comments."""
    return {
        file.stem: [
            text for line in file.read_text().splitlines() if (text := line.split("#")[0].strip())
        ]
        for file in sorted((ROOT / "requirements").glob("*.txt"))
    }


@pytest.fixture
def setup_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a module of scripts/ by name, and forgets it afterwards."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    names = [file.stem for file in (ROOT / "scripts").glob("*.py")]

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in names:
        sys.modules.pop(name, None)
