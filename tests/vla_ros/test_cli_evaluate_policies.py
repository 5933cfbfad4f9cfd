"""`vla-ros world-model evaluate-policies` as it is typed, with a model that has learned nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

LIFT = "VlaRos/Lift-v0"
NAMES = ["x", "y", "z", "qw", "qx", "qy", "qz", "gripper_opening"]
POLICIES = ("zero", "noisy:1:zero", "steps:1:noisy:4:zero")


def one_line(errors):
    return " ".join(errors.split())


@pytest.fixture(scope="module")
def model(tiny_world_model):
    return tiny_world_model()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Four episodes of the real task's first steps, as the arm stands still."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    from policies.openvla.state import dataset_state
    from sim.env import TabletopEnv

    folder = tmp_path_factory.mktemp("data") / "still"
    image = {"dtype": "image", "shape": (224, 224, 3), "names": ["height", "width", "channels"]}
    vector = lambda size, names=None: {  # noqa: E731
        "dtype": "float32", "shape": (size,), "names": names
    }  # fmt: skip
    made = LeRobotDataset.create(
        "local/still", fps=10, root=folder, use_videos=False, robot_type="fr3",
        features={
            "observation.images.front": image,
            "observation.state": vector(8, NAMES),
            "observation.joint_positions": vector(7),
            "action": vector(7),
            "next.success": {"dtype": "bool", "shape": (1,), "names": None},
        },
    )  # fmt: skip
    env = TabletopEnv("Lift", cameras=("front",))
    for seed in range(4):
        values, _ = env.reset(seed=seed)
        for _ in range(4):
            state = dataset_state(
                values["ee_position"], values["ee_quaternion"], values["gripper_opening"][0]
            )
            made.add_frame({
                "observation.images.front": values["front"],
                "observation.state": state.astype(np.float32),
                "observation.joint_positions": values["joint_positions"].astype(np.float32),
                "action": np.zeros(7, dtype=np.float32),
                "next.success": np.array([False]),
                "task": values["instruction"],
            })  # fmt: skip
            values = env.step(np.zeros(7))[0]
        made.save_episode()
    made.finalize()
    env.close()
    return folder


def rank(model, *rest, policies=POLICIES):
    chosen = [word for name in policies for word in ("--policy", name)]
    return (
        "world-model", "evaluate-policies", "--model", model, *chosen, "--env", LIFT,
        "--episodes", 2, "--workers", 1, "--decode-steps", 1, *rest,
    )  # fmt: skip


def test_ranked_with_abstention_and_again_after_a_crash(vla_ros, model, dataset, tmp_path):
    file, picture = tmp_path / "result.json", tmp_path / "result.png"
    usual = ("--dataset", dataset, "--held-out", 1, "--abstain-share", 0.25)
    code, out, errors = vla_ros(
        *rank(model, *usual, "--abstain-in", "textures", "--json", file, "--plot", picture)
    )
    assert code == 0, errors
    result = json.loads(file.read_text())
    assert [row["policy"] for row in result["policies"]] == list(POLICIES)
    assert {"pearson_r", "spearman_rho", "mmrv", "calibration", "abstained"} <= result.keys()
    for row in result["policies"]:
        assert row["imagined_all"]["episodes"] == row["mujoco"]["episodes"] == 2
        answered = row["imagined"]["episodes"] if row["imagined"] else 0
        assert answered + row["abstained"] == 2
        assert row["mujoco"]["success_rate"] == 0.0  # standing still lifts nothing
    abstention = result["abstention"]
    assert abstention["episodes"] == 4 and set(abstention["by_variant"]) == {"standard", "textures"}
    assert len(result["rows"]) == 3 * 2 + 2
    assert all(0 <= row["probability"] <= 1 and row["imagined_steps"] > 0 for row in result["rows"])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "abstained in textures" in out
    assert not list(tmp_path.glob("*.jsonl"))

    # What would lie there had it been killed after two episodes; one policy is added.
    from vla_ros.ranking.journal import RankingJournal
    from vla_ros.ranking.settings import Ranking, read_contestant
    from vla_ros.ranking.work import Episode

    asked = Ranking(tuple(map(read_contestant, POLICIES)), str(model), (LIFT,), 2, decode_steps=1)
    fields = Episode.__dataclass_fields__
    rows = [Episode(**{name: row[name] for name in fields}) for row in result["rows"][:2]]
    marked = [Episode(**{**vars(row), "ever": 0.125}) for row in rows]
    again = tmp_path / "again.json"
    journal = RankingJournal(again, asked, resume=False)
    for row in marked:
        journal.add((row.policy, row.variant, row.env_id, row.seed), row)
    journal.close()
    more = (*POLICIES, "noisy:2:zero")
    code, _, errors = vla_ros(
        *rank(model, "--no-abstain", "--json", again, "--resume", policies=more)
    )
    assert code == 0, errors
    resumed = json.loads(again.read_text())
    assert [row["ever"] for row in resumed["rows"][:2]] == [0.125] * 2  # not run again
    for row, before in zip(resumed["rows"][2:6], result["rows"][2:6], strict=True):
        assert {name: row[name] for name in fields} == {name: before[name] for name in fields}
    assert len(resumed["rows"]) == 8 and resumed["abstention"] is None


def test_mujocos_part_may_come_from_a_file(vla_ros, model, tmp_path):
    truth, file = tmp_path / "truth.json", tmp_path / "result.json"
    code, _, errors = vla_ros(
        "evaluate", "--policy", "noisy:1:zero", "--env", LIFT, "--episodes", 3, "--workers", 1,
        "--json", truth,
    )  # fmt: skip
    assert code == 0, errors
    told = json.loads(truth.read_text())
    told["rows"][1]["success"] = True  # to see that it is read
    truth.write_text(json.dumps(told))
    code, _, errors = vla_ros(*rank(model, "--no-abstain", "--truth", truth, "--json", file))
    assert code == 0, errors
    rates = [row["mujoco"]["success_rate"] for row in json.loads(file.read_text())["policies"]]
    assert rates == [0.0, 0.5, 0.0]
    code, _, errors = vla_ros(*rank(model, "--no-abstain", "--truth", truth, "--seed", 5))
    assert code == 2
    assert "seeds 5 to 6, without delay; got policy noisy:1:zero" in one_line(errors)


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(vla_ros, model, tmp_path):
    rows = []
    for workers in (1, 2):
        file = tmp_path / f"{workers}.json"
        code, _, errors = vla_ros(
            *rank(model, "--no-abstain", "--json", file, "--workers", workers)
        )
        assert code == 0, errors
        rows.append(json.loads(file.read_text())["rows"])
    for one, other in zip(*rows, strict=True):  # last digits are the process's own
        signals = one.pop("signals"), other.pop("signals")
        assert signals[0] == pytest.approx(signals[1], rel=1e-4)
        for name in ("probability", "ever"):
            assert one.pop(name) == pytest.approx(other.pop(name), rel=1e-4)
        assert one == other


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "dataset: expected the datasets that the model was trained on"),
        (("--no-abstain", "--abstain-in", "camera"), "abstain-in: means nothing with --no-abstain"),
        (("--no-abstain", "--resume"), "resume: expected --json with it"),
        (("--no-abstain", "--threshold", 2), "threshold: expected a number between 0 and 1"),
        (("--no-abstain", "--policy", "expert"), "reads the simulator's true state"),
        (("--no-abstain", "--device", "quantum"), "device: 'quantum' cannot be used here"),
        (("--no-abstain", "--truth", "none.json"), "none.json: No such file"),
    ],
)
def test_what_cannot_be_ranked_is_refused(vla_ros, model, words, reason):
    code, _, errors = vla_ros(*rank(model, *words))
    assert code == 2 and reason in one_line(errors)


def test_too_few_usual_episodes_are_refused(vla_ros, model, dataset):
    code, _, errors = vla_ros(*rank(model, "--dataset", dataset, "--held-out", 1))
    assert code == 2
    assert "expected at least 19 held-out episodes to abstain from 5% of usual ones, got 4" in (
        one_line(errors)
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"robot": "so101"}, "robot: expected fr3, got so101"),
        ({"rate_hz": 5.0}, "rate_hz: expected 10.0, got 5.0"),
        ({"camera": "ceiling"}, "camera: expected front or wrist, got ceiling"),
        ({"words": ("dance",)}, "unknown to this world model"),
    ],
)
def test_another_robots_model_is_refused(vla_ros, tiny_world_model, change, reason):
    code, _, errors = vla_ros(*rank(tiny_world_model(**change), "--no-abstain"))
    assert code == 2 and reason in one_line(errors)


def test_a_policy_with_another_camera_is_refused(vla_ros, tiny_world_model):
    model = tiny_world_model(camera="wrist")
    words = ("--no-abstain", "--policy", "openvla-mini-oft")
    code, _, errors = vla_ros(*rank(model, *words))
    assert code == 2
    assert "looks at the camera front; this world model imagines only wrist" in one_line(errors)
