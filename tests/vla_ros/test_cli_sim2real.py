"""`vla-ros sim2real` as it is typed."""

import json

import numpy as np
import pytest
import yaml

from sim import robot
from sim.sim2real import rosbag
from vla_ros import topics
from vla_ros.controllers import TrajectoryFollower

RATES = "real,policy,simulation\n0.1,a,0.2\n0.3,b,0.6\n0.8,c,0.4\n"


@pytest.fixture
def rates(tmp_path):
    file = tmp_path / "rates.csv"
    file.write_text(RATES)
    return file


def test_compare_writes_the_three_figures(vla_ros, rates, tmp_path):
    file, plot = tmp_path / "out" / "result.json", tmp_path / "plot.png"
    code, out, _ = vla_ros("sim2real", "compare", rates, "--json", file, "--episodes", 50,
                           "--draws", 500, "--plot", plot)  # fmt: skip
    assert code == 0
    result = json.loads(file.read_text())
    # Policies b and c are ranked wrongly and really differ by 0.5.
    assert result["mmrv"] == pytest.approx(1 / 3)
    assert result["pearson_r"] == pytest.approx(np.corrcoef([0.2, 0.6, 0.4], [0.1, 0.3, 0.8])[0, 1])
    assert result["spearman_rho"] == pytest.approx(0.5)
    low, high = result["mmrv_interval"]
    assert 0 <= low < high <= 1
    assert "0.333" in out and "needs 4 policies" in out
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_compare_says_what_is_withheld(vla_ros, rates):
    code, out, _ = vla_ros("sim2real", "compare", rates)
    assert code == 0
    assert "mmrv_interval: the number of episodes is unknown for a, b, c" in out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("real,policy,simulation", "real,policy,sim", "missing simulation"),
        ("0.8", "80", "looks like a percentage: divide by 100"),
        ("0.8,c,0.4\n", "", "expected 3 or more, got 2"),
        (",c,", ",b,", "expected every name once, got b"),
    ],
)
def test_other_rates_are_one_line(vla_ros, rates, tmp_path, old, new, message):
    rates.write_text(RATES.replace(old, new))
    code, _, errors = vla_ros("sim2real", "compare", rates, "--json", tmp_path / "result.json")
    assert code == 2
    (line,) = errors.strip().splitlines()
    assert message in line
    assert not (tmp_path / "result.json").exists()


def test_places_are_checked_before_the_work(vla_ros, rates, tmp_path):
    code, _, errors = vla_ros("sim2real", "compare", rates, "--plot", tmp_path)
    assert code == 2 and "plot: expected a file" in errors
    code, _, errors = vla_ros("sim2real", "identify", tmp_path / "no", "--output", tmp_path)
    assert code == 2 and "output: expected a file" in errors


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "rates.csv", "--json", "rates.csv"),
        ("compare", "rates.csv", "--plot", "./rates.csv"),
        ("compare", "rates.csv", "--json", "x", "--plot", "x"),
        ("replay", "rates.csv", "--json", "rates.csv"),
        ("replay", "logs", "--identified", "rates.csv", "--json", "rates.csv"),
        ("identify", "logs", "--json", "x", "--output", "x"),
        ("identify", "logs", "--held-out", "rates.csv", "--output", "rates.csv"),
    ],
)
def test_no_result_is_written_over_what_is_read(vla_ros, rates, monkeypatch, words):
    monkeypatch.chdir(rates.parent)
    code, _, errors = vla_ros("sim2real", *words)
    assert code == 2 and "expected a file of its own" in " ".join(errors.split())
    assert rates.read_text() == RATES
    assert [path.name for path in rates.parent.iterdir()] == ["rates.csv"]


def test_record_and_replay(vla_ros, tmp_path):
    folder, file = tmp_path / "logs", tmp_path / "gap.json"
    recording = ("sim2real", "record", "--output", folder, "--logs", 1, "--duration-s", 3,
                 "--rate-hz", 50, "--format", "sqlite3")  # fmt: skip
    code, out, _ = vla_ros(*recording)
    assert (code, "1 logs, 3 s" in out) == (0, True)
    code, _, errors = vla_ros(*recording)
    assert code == 2 and "already exists" in errors
    code, out, _ = vla_ros("sim2real", "replay", folder, "--json", file)
    assert code == 0 and "fr3_joint7" in out
    result = json.loads(file.read_text())
    assert result["rmse_rad"] > 0.005  # the stand-in is another robot
    assert result["lag_s"] > 0.02
    assert set(result["joint_rmse_rad"]) == set(robot.JOINT_NAMES)
    assert result["outcomes"] == {"episodes": 0, "successes": 0}
    assert len(result["logs"]) == 1


@pytest.mark.slow
def test_identify_closes_the_gap_on_held_out_logs(vla_ros, tmp_path):
    fit, held = tmp_path / "fit", tmp_path / "held"
    for folder, seed, logs in ((fit, 1, 2), (held, 9, 1)):
        vla_ros("sim2real", "record", "--output", folder, "--logs", logs, "--seed", seed,
                "--duration-s", 6, "--rate-hz", 50)  # fmt: skip
    code, out, _ = vla_ros(
        "sim2real", "identify", fit, "--held-out", held, "--max-iterations", 8,
        "--json", tmp_path / "arm.json", "--output", tmp_path / "ranges.yaml", "--preset", "train",
    )  # fmt: skip
    assert code == 0 and "of the joints' gap" in out
    result = json.loads((tmp_path / "arm.json").read_text())
    assert result["converged"] is False and "raise --max-iterations" in out
    assert result["held_out"]["closed_joints"] > 0.7
    assert result["held_out"]["closed_tool"] > 0.7
    written = yaml.safe_load((tmp_path / "ranges.yaml").read_text())
    assert set(written["axes"]) == {"joints", "actuators", "latency"}
    assert written["base"] == "train"
    code, _, _ = vla_ros("sim2real", "replay", held, "--identified", tmp_path / "arm.json",
                         "--json", tmp_path / "gap.json")  # fmt: skip
    gap = json.loads((tmp_path / "gap.json").read_text())
    assert gap["rmse_rad"] == pytest.approx(result["held_out"]["after"]["rmse_rad"])
    code, _, _ = vla_ros(
        "evaluate", "--policy", "expert", "--env", "VlaRos/Lift-v0", "--episodes", 1,
        "--variant", f"identified:{tmp_path / 'arm.json'}", "--workers", 1,
    )  # fmt: skip
    assert code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("replay", "nothing"), "nothing: no such file or folder"),
        (("record", "--output", "x", "--format", "csv"), "expected one of mcap, sqlite3, lerobot"),
        (("record", "--output", "x", "--format", "lerobot", "--camera", "front"), "only rosbag2"),
        (("record", "--output", "x", "--variant", "mars"), "got 'mars'"),
        (("identify", "x", "--output", "y", "--preset", "mars"), "expected one of nominal, train"),
        (("identify", "x", "--preset", "train"), "give --output FILE.yaml"),
    ],
)
def test_other_commands_are_one_line(vla_ros, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, _, errors = vla_ros("sim2real", *words)
    assert code == 2
    (line,) = errors.strip().splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


def test_bags_are_read_where_this_stack_writes():
    usual = rosbag.BagTopics()
    assert usual.joint_states == topics.JOINT_STATES
    assert usual.command == topics.ARM_COMMAND
    assert usual.instruction == topics.INSTRUCTION


def test_commands_of_a_bag_are_what_the_controller_follows():
    """Trajectories that replace one another, some late, against `TrajectoryFollower`."""
    rng = np.random.default_rng(0)
    lower, upper = robot.POSITION_LOWER_RAD, robot.POSITION_UPPER_RAD
    follower = TrajectoryFollower(robot.JOINT_NAMES, lower, upper)
    command, received = robot.HOME_RAD, []
    times_ns = np.arange(0, 3_000_000_000, 8_000_000)
    followed = []
    for now_ns in times_ns:
        standing = follower.sample(int(now_ns))  # where the command stands when one comes
        command = command if standing is None else standing
        if rng.random() < 0.1:
            points_ns = np.cumsum(rng.integers(50_000_000, 200_000_000, 4))
            start_ns = int(now_ns) - int(rng.integers(0, 100_000_000)) if now_ns else 0
            targets = robot.HOME_RAD + rng.uniform(-0.1, 0.1, (4, 7))
            points = list(zip(points_ns.tolist(), targets.tolist(), strict=True))
            follower.accept(robot.JOINT_NAMES, points, start_ns, int(now_ns), command)
            begin_ns = start_ns or int(now_ns)
            received.append(rosbag.Trajectory(now_ns / 1e9, (begin_ns + points_ns) / 1e9, targets))
        sampled = follower.sample(int(now_ns))
        command = command if sampled is None else sampled
        followed.append(command)
    stamps_s, rows = rosbag.follow(received, robot.HOME_RAD)
    path = np.stack([np.interp(times_ns / 1e9, stamps_s, column) for column in rows.T], axis=1)
    assert path == pytest.approx(np.stack(followed), abs=1e-9)
