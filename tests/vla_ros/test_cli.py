"""The command line: quick to help, and clear about what the user can mend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from policies.factory import DEFAULT_POLICY
from vla_ros.cli import COMMANDS
from vla_ros.cli.demo import choose_tasks, decoding, prepare
from vla_ros.errors import UserError

ROOT = Path(__file__).parents[2]
RUN = "import sys; from vla_ros.cli import main; sys.argv = ['vla-ros', *sys.argv[1:]]; main()"


def run(*arguments, code=RUN):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = (
        "import sys; from vla_ros.cli import build_app\n"
        "try: build_app()(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('rclpy', 'torch', 'mujoco', 'gymnasium') if m in sys.modules])"
    )
    result = run(code=code)
    assert result.stdout.rstrip().endswith("[]"), result.stdout + result.stderr
    for name in COMMANDS:
        assert name in result.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["demo", "--policy", "no-such"], "policy: expected a checkpoint folder or one of"),
        (["demo", "--task", "Juggle"], "task: expected one of Lift, PickPlace, Push"),
        (["demo", "--output", "/proc/nowhere"], "output: cannot write into /proc/nowhere"),
        (["pretrain", "--output", "/proc/nowhere"], "output: cannot write into /proc/nowhere"),
    ],
)
def test_an_error_is_one_line_and_status_2(arguments, reason):
    result = run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert reason in result.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("demo", "--variant", "bad.yaml"), "bad.yaml"),
        (("demo", "--config", "bad.yaml"), "bad.yaml"),
        (("pretrain", "--randomize", "bad.yaml"), "bad.yaml"),
    ],
)
def test_a_file_that_cannot_be_read_leaves_no_folder(vla_ros, tmp_path, words, reason):
    code, _, errors = vla_ros(*words, "--output", tmp_path / "out")
    assert code == 2 and reason in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "a.json", "f.png", "--json", "f.png"),
        ("convert", "bag", "out", "--mapping", "f.png", "--json", "f.png"),
        ("plan", "lift it", "--env", "f.png", "--json", "f.png"),
        ("scene", "check", "f.png", "--picture", "f.png"),
        ("world-model", "play", "--model", "m", "--script", "f.png", "--json", "f.png"),
        ("world-model", "evaluate", "--model", "m", "--dataset", "d", "--json", "x.png",
         "--plot", "x.png"),
        ("world-model", "evaluate-policies", "--model", "m", "--policy", "p", "--env", "e",
         "--truth", "f.png", "--plot", "f.png"),
    ],
)  # fmt: skip
def test_no_command_writes_over_what_it_reads(vla_ros, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.png").write_text("mine")
    code, _, errors = vla_ros(*words)
    assert code == 2 and "expected a file of its own" in " ".join(errors.split())
    assert (tmp_path / "f.png").read_text() == "mine"


def test_an_unknown_command_is_named():
    result = run("juggle")
    assert result.returncode == 2
    assert "juggle" in result.stderr


def test_the_tasks_to_show():
    assert choose_tasks("Push") == ("Push",)
    assert set(choose_tasks("all")) == {"Lift", "PickPlace", "Push"}


def test_the_demo_shows_the_head_that_answers_eight_actions_at_once():
    assert decoding(DEFAULT_POLICY) == ", 8 actions at once"
    assert decoding("openvla-mini") == ", token by token"
    assert decoding("ws://there:8000") == ""


def test_an_output_that_cannot_be_written_is_said_before_anything_starts(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="output: cannot write into .*file/demo"):
        prepare(tmp_path / "file" / "demo")
    monkeypatch.setattr("vla_ros.cli.demo.NEEDED_MB", 1e9)
    with pytest.raises(UserError, match="expected .* MB free"):
        prepare(tmp_path / "demo")
