"""Where results may not be written: into what is read as a whole."""

from pathlib import Path

import pytest

from vla_ros.cli._output import check_folder, check_outside, check_writable
from vla_ros.errors import UserError


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A dataset, a folder of bags, and folders that have something of the same name."""
    files = {
        "data/meta/info.json": '{"codebase_version": "v3.0"}',
        "logs/a/metadata.yaml": "rosbag2_bagfile_information:\n  version: 9\n",
        "logs/a/a.mcap": "",
        "project/metadata.yaml": "title: my thesis",
        "project/meta/info.json": "{}",
        "policy/config.json": "{}",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("file", "where"),
    [
        ("data/x.json", r"data \(a LeRobotDataset\)"),
        ("data/deep/er/x.json", r"data \(a LeRobotDataset\)"),
        ("link/x.json", r"data \(a LeRobotDataset\)"),
        ("logs/a/x.json", r"logs/a \(a rosbag2\)"),
        ("logs/x.json", r"logs \(given for LOG\)"),
        ("logs/results/x.json", r"logs \(given for LOG\)"),
    ],
)
def test_no_result_is_put_into_what_is_read_as_a_whole(places, file, where):
    before = everything(places)
    message = f"json: expected a place outside .*/{where}, which is read as a whole; got {file}"
    with pytest.raises(UserError, match=message):
        check_writable(Path(file), others=[("LOG", "logs")])
    assert everything(places) == before


@pytest.mark.parametrize(
    ("file", "option", "other"),
    [
        ("logs/x.json", "report", "data"),  # not what this command reads
        ("policy/x.json", "policy", "policy"),
        ("project/x.json", "env", "project"),
        ("report/x.json", "report", "report"),
        ("x.json", "LOG", "logs"),
        ("x.json", "LOG", "x" * 300),
    ],
)
def test_beside_everything_else_it_may_lie(places, file, option, other):
    check_writable(places / file, others=[(option, other), ("nothing", None)])


def test_a_folder_is_put_beside_a_dataset_unless_it_goes_on_with_it(places):
    for folder in ("data", "data/new", "logs/a/new"):
        with pytest.raises(UserError, match="output: expected a place outside"):
            check_folder(places / folder)
    check_folder(places / "data", dataset=True)
    check_outside(places / "data")
    with pytest.raises(UserError, match="a place outside"):
        check_folder(places / "data" / "new", dataset=True)
    check_folder(places / "policy")


@pytest.mark.parametrize(
    "words",
    [
        ("sim2real", "identify", "logs", "--json", "logs/arm.json"),
        ("sim2real", "identify", "logs/a", "--output", "logs/a/arm.yaml"),
        ("sim2real", "identify", "data", "--held-out", "logs", "--json", "logs/arm.json"),
        ("sim2real", "replay", "data", "--json", "data/gap.json"),
        ("sim2real", "record", "--output", "data/logs"),
        ("collect", "--env", "VlaRos/Lift-v0", "--episodes", 1, "--output", "data/x"),
        ("convert", "logs", "logs/new", "--mapping", "m.yaml"),
        ("convert", "logs/a", "data/new", "--mapping", "m.yaml"),
        ("evaluate", "--policy", "zero", "--env", "VlaRos/Lift-v0", "--report", "data/report"),
        ("evaluate", "--policy", "zero", "--env", "VlaRos/Lift-v0", "--video", "data/videos"),
        ("record", "data/new"),
    ],
)
def test_every_command_refuses_it_before_the_work(vla_ros, places, words):
    before = everything(places)
    code, _, errors = vla_ros(*words)
    assert code == 2
    assert "expected a place outside" in " ".join(errors.split())
    assert everything(places) == before
