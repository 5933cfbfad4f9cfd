"""scripts/setup.sh: which Python it takes, and what it says when there is none.

Each test runs the real script in a copy of its folder, with pretended Pythons on PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = ("sh", "cat")


class Machine:
    """A folder with the scripts, and a PATH that holds nothing but what a test puts there."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        self.checkout = folder / "check out"  # people do have spaces in their paths
        shutil.copytree(root / "scripts", self.checkout / "scripts")
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)

    def python(self, path: Path, version: str, complete: bool = True) -> Path:
        """A program that answers set-up's questions as a Python of that version would."""
        answers = f"""#!/bin/sh
case "$*" in
    *scripts/install.py*) echo "installing with $0" ;;
    *version_info*) echo "cpython {version}" ;;
    *ensurepip*) exit {0 if complete else 1} ;;
esac
"""
        return self.program(path, answers)

    def shim(self, path: Path) -> Path:
        """What pyenv leaves on PATH for a version that is not chosen."""
        return self.program(path, "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n")

    def program(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def set_up(self, *more_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(str(folder) for folder in (*more_path, self.bin))
        return subprocess.run(
            ["sh", str(self.checkout / "scripts" / "setup.sh")],
            env={"PATH": path, "HOME": str(self.folder / "home"), **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
        )


@pytest.fixture
def machine(root: Path, tmp_path: Path) -> Machine:
    return Machine(root, tmp_path)


def test_takes_python3_12_from_path(machine: Machine) -> None:
    good = machine.python(machine.bin / "python3.12", "3.12")
    result = machine.set_up()
    assert (result.returncode, result.stdout) == (0, f"installing with {good}\n"), result.stderr


def test_passes_over_a_shim_that_hides_a_good_one(machine: Machine) -> None:
    machine.shim(machine.folder / "shims" / "python3.12")
    good = machine.python(machine.bin / "python3.12", "3.12")
    result = machine.set_up(machine.folder / "shims")
    assert result.stdout == f"installing with {good}\n", result.stderr


@pytest.mark.parametrize("variable", ["", "PYENV_ROOT"])
def test_looks_into_pyenv(machine: Machine, variable: str) -> None:
    home = machine.folder / ("elsewhere" if variable else "home/.pyenv")
    machine.shim(machine.bin / "python3.12")
    machine.python(machine.bin / "python3", "3.11")
    good = machine.python(home / "versions" / "3.12.7" / "bin" / "python3.12", "3.12")
    result = machine.set_up(**({variable: str(home)} if variable else {}))
    assert result.stdout == f"installing with {good}\n", result.stderr


def test_asks_pyenv_where_its_versions_are(machine: Machine) -> None:
    home = machine.folder / "unusual"
    machine.program(machine.bin / "pyenv", f"#!/bin/sh\necho '{home}'\n")
    good = machine.python(home / "versions" / "3.12.1" / "bin" / "python3.12", "3.12")
    assert machine.set_up().stdout == f"installing with {good}\n"


@pytest.mark.parametrize("name", ["python3", "python"])
def test_takes_a_plain_python_of_the_right_version(machine: Machine, name: str) -> None:
    good = machine.python(machine.bin / name, "3.12")
    assert machine.set_up().stdout == f"installing with {good}\n"


def test_prefers_one_that_can_make_environments(machine: Machine) -> None:
    """Ubuntu's python3.12 without python3.12-venv runs, but cannot make .venv."""
    bare = machine.python(machine.bin / "python3.12", "3.12", complete=False)
    assert machine.set_up().stdout == f"installing with {bare}\n"  # install.py names the package
    good = machine.python(machine.bin / "python3", "3.12")
    assert machine.set_up().stdout == f"installing with {good}\n"


def test_without_any_python_says_what_to_install(machine: Machine) -> None:
    result = machine.set_up()
    assert result.returncode == 1
    assert "no Python 3.12 found" in result.stderr
    assert "no python at all is on PATH" in result.stderr
    assert "apt-get install python3.12 python3.12-venv" in result.stderr
    assert "pyenv install 3.12" in result.stderr
    assert "make setup PYTHON=" in result.stderr


def test_names_the_pythons_it_could_not_use(machine: Machine) -> None:
    shim = machine.shim(machine.bin / "python3.12")
    old = machine.python(machine.bin / "python3", "3.11")
    result = machine.set_up()
    assert result.returncode == 1
    assert f"{shim} (does not run)" in result.stderr
    assert f"{old} (cpython 3.11)" in result.stderr


def test_PYTHON_is_taken_before_all_others(machine: Machine) -> None:  # noqa: N802
    machine.python(machine.bin / "python3.12", "3.12")
    wanted = machine.python(machine.folder / "my python", "3.12")
    assert machine.set_up(PYTHON=str(wanted)).stdout == f"installing with {wanted}\n"


def test_PYTHON_of_the_wrong_version_is_an_error(machine: Machine) -> None:  # noqa: N802
    machine.python(machine.bin / "python3.12", "3.12")
    old = machine.python(machine.folder / "old", "3.11")
    result = machine.set_up(PYTHON=str(old))
    assert result.returncode == 1
    assert f"PYTHON={old} is not a Python 3.12 (it says: cpython 3.11)" in result.stderr


def test_PYTHON_that_does_not_exist_is_an_error(machine: Machine) -> None:  # noqa: N802
    result = machine.set_up(PYTHON="/no/such/python")
    assert result.returncode == 1
    assert "PYTHON=/no/such/python is not a program" in result.stderr


def test_does_not_look_further_when_nothing_changed(machine: Machine) -> None:
    machine.program(machine.checkout / ".venv" / "bin" / "python", "#!/bin/sh\nexit 0\n")
    machine.python(machine.bin / "python3.12", "3.12")
    result = machine.set_up()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_takes_again_the_python_that_made_venv(machine: Machine) -> None:
    """PYTHON=... is needed once, not at every later change of the pins."""
    good = machine.python(machine.folder / "far away" / "python3.12", "3.12")
    machine.program(
        machine.checkout / ".venv" / "bin" / "python",
        f"#!/bin/sh\ncase $* in *--check*) exit 1 ;; *_base_executable*) echo '{good}' ;; esac\n",
    )
    assert machine.set_up().stdout == f"installing with {good}\n"


def test_never_makes_venv_with_the_python_inside_it(machine: Machine) -> None:
    inside = machine.checkout / ".venv" / "bin"
    machine.program(
        inside / "python",
        "#!/bin/sh\ncase $* in *--check*) exit 1 ;; esac\necho 'cpython 3.12'\n",
    )
    machine.python(inside / "python3.12", "3.12")
    good = machine.python(machine.bin / "python3.12", "3.12")
    assert machine.set_up(inside).stdout == f"installing with {good}\n"
