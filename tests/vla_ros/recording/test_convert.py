"""A bag whose every stream tells the time becomes rows that were seen together."""

import json
import os

import numpy as np
import pytest

from sim.episode_files import DatasetError
from vla_ros.recording.bag_streams import BagError
from vla_ros.recording.convert import convert, find_bags
from vla_ros.recording.mapping import MappingError, parse_mapping

START_NS = 10**18
FRONT = "observation.images.front"
JOINTS = {"topic": "/joint_states", "names": ["b", "a"]}


def mapping(**changes):
    content = {
        "features": {
            FRONT: {"topic": "/camera"},
            "observation.state": JOINTS,
            "action": {"topic": "/command", "names": ["a", "b"]},
        },
        "task": {"text": "lift it"},
        **changes,
    }
    return parse_mapping(content)


def opened(folder):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    data = LeRobotDataset("local/test", root=folder, video_backend="pyav")
    rows = data.hf_dataset.with_format("numpy")
    return data, {name: np.stack(rows[name]) for name in rows.column_names}


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_rows_hold_what_was_seen_and_measured_together(clock_bag, tmp_path, storage):
    clock_bag(storage=storage).write()
    report = convert([tmp_path / "bag"], tmp_path / "data", mapping())
    data, columns = opened(tmp_path / "data")
    assert (data.num_episodes, data.fps, report["episodes"]) == (1, 10, 1)
    assert data[0]["task"] == "lift it"
    measured = columns["observation.state"]
    assert data.meta.features["observation.state"]["names"] == ["b", "a"]
    assert len(measured) == report["frames"] >= 26
    for row, (b, a) in enumerate(measured):
        assert b == pytest.approx(-a, abs=1e-6)
        seen_s = float(data[row][FRONT].mean()) * 255 / 40
        assert seen_s == pytest.approx(a, abs=0.03)  # the image is of that instant: coded shades
        assert a == pytest.approx(0.1 * row, abs=0.011)  # no image twice, none left out
        # Where the command stands at the next row; at first it starts from the first target.
        if row >= 4:
            assert columns["action"][row] == pytest.approx([a + 0.1, -a - 0.1], abs=0.005)
    (episode,) = report["bags"][0]["episodes"]
    assert episode["repeated_images"] == {FRONT: 0}
    assert episode["skew_ms"][FRONT]["max"] < 62.0  # half a period and the jitter
    assert "next.success" not in data.meta.features  # nobody told


def test_other_types_and_several_topics_in_a_feature(clock_bag, tmp_path):
    bag = clock_bag(duration_s=2.0)
    bag.number(0.0, 0.25)
    bag.number(1.0, 0.75)
    bag.write()
    features = {
        "observation.images.small": {
            "topic": "/camera/compressed", "height_px": 16, "width_px": 24,
        },
        "observation.state": [
            {"topic": "/tool"},
            {"topic": "/array", "names": ["u", "v", "w"], "resample": "linear"},
            {"topic": "/joint_states", "names": ["a"], "field": "velocity"},
        ],
        "action": [{"topic": "/twist"}, {"topic": "/gripper"}],
    }  # fmt: skip
    convert([tmp_path / "bag"], tmp_path / "data", mapping(features=features))
    data, columns = opened(tmp_path / "data")
    assert data[0]["observation.images.small"].shape == (3, 16, 24)
    state, action = columns["observation.state"], columns["action"]
    times_s = state[:, 0]
    assert state[:, 3:7] == pytest.approx(
        np.stack([np.cos(times_s / 4), 0 * times_s, 0 * times_s, np.sin(times_s / 4)], axis=1),
        abs=1e-4,
    )  # although the bag's quaternions change their sign
    assert state[:, 7:10] == pytest.approx(np.outer(times_s, [1, 2, 3]), abs=1e-4)
    assert state[:, 10] == pytest.approx(10 * times_s, abs=1e-3)
    # The newest twist before the next row, never a later one.
    lag_s = times_s + 0.1 - action[:, 0]
    assert lag_s.min() > -1e-3 and lag_s.max() < 0.0201
    assert set(np.round(action[:, 6], 2)) == {0.25, 0.75}
    assert action[times_s + 0.1 < 0.99, 6].max() == 0.25
    names = data.meta.features["observation.state"]["names"]
    assert names[:8] == ["x", "y", "z", "qw", "qx", "qy", "qz", "u"]


def test_texts_split_episodes_and_say_the_task_and_success(clock_bag, tmp_path):
    bag = clock_bag(duration_s=6.0)
    for time_s, text in ((0.5, "lift it"), (2.0, ""), (2.5, "push it"), (4.0, "pour it")):
        bag.text(time_s, text)
    bag.flag(0.2, True)  # before the first: of no episode
    bag.flag(1.8, True)
    bag.flag(3.9, False)
    bag.write()
    changes = {
        "episodes": {"by": "topic", "topic": "/instruction"},
        "task": {"topic": "/instruction"},
        "success": {"topic": "/episode/success"},
    }
    report = convert([tmp_path / "bag"], tmp_path / "data", mapping(**changes))
    data, columns = opened(tmp_path / "data")
    episodes = report["bags"][0]["episodes"]
    assert [each["task"] for each in episodes] == ["lift it", "push it", "pour it"]
    assert [each["success"] for each in episodes] == [True, False, None]
    first = columns["episode_index"] == 0
    assert columns["next.success"][first].tolist() == [False] * (first.sum() - 1) + [True]
    times_s = columns["observation.state"][:, 1]
    for number, (start_s, end_s) in enumerate(((0.5, 2.0), (2.5, 4.0), (4.0, 6.0))):
        inside = times_s[columns["episode_index"] == number]
        assert start_s - 0.011 <= inside.min() and inside.max() <= end_s


def test_gaps_split_or_leave_out_and_are_reported(clock_bag, tmp_path):
    clock_bag(duration_s=5.0, skip=lambda time_s: 2.0 < time_s < 3.2).write()
    with pytest.raises(
        BagError, match=r"no episode can be used: /joint_states: nothing for 1200 ms"
    ):
        convert([tmp_path / "bag"], tmp_path / "data", mapping())
    changes = {"episodes": {"by": "gap", "longer_than_s": 1.0}}
    report = convert([tmp_path / "bag"], tmp_path / "data", mapping(**changes))
    assert report["episodes"] == 2
    topics = report["bags"][0]["topics"]
    assert topics["/joint_states"]["gaps"] == topics["/camera"]["gaps"] == 1
    assert topics["/joint_states"]["largest_gap_ms"] == pytest.approx(1200, abs=25)
    assert topics["/command"]["gaps"] == 0
    assert topics["/camera"]["delay_ms"] == pytest.approx(10.0, abs=0.1)
    assert topics["/command"]["stamped"] is False


def test_late_messages_are_counted_and_not_used(clock_bag, tmp_path):
    bag = clock_bag()
    bag.joints(1.0, (99.0, 99.0), delay_s=0.5)
    bag.image(1.0, 255, delay_s=0.5)
    bag.write()
    report = convert([tmp_path / "bag"], tmp_path / "data", mapping())
    topics = report["bags"][0]["topics"]
    assert (topics["/joint_states"]["late"], topics["/camera"]["late"]) == (1, 1)
    assert topics["/camera"]["jitter_ms"] == pytest.approx(490.0, abs=1.0)
    data, columns = opened(tmp_path / "data")
    assert np.abs(columns["observation.state"]).max() < 3.1
    assert max(float(data[row][FRONT].mean()) for row in range(len(data))) < 0.7


def test_rows_without_data_at_the_ends_are_trimmed(clock_bag, tmp_path):
    bag = clock_bag()
    bag.number(1.0, 0.5)
    bag.write()
    features = {FRONT: {"topic": "/camera"}, "action": {"topic": "/gripper"},
                "observation.state": JOINTS}  # fmt: skip
    report = convert([tmp_path / "bag"], tmp_path / "data", mapping(features=features))
    (episode,) = report["bags"][0]["episodes"]
    assert 8 <= episode["trimmed_rows"] <= 10
    _, columns = opened(tmp_path / "data")
    assert columns["observation.state"][0, 1] >= 0.88  # the command counts until the next row


def test_a_folder_of_bags_and_no_cameras(clock_bag, tmp_path):
    for name in ("bags/b", "bags/a"):
        (tmp_path / "bags").mkdir(exist_ok=True)
        clock_bag(name).write()
    features = {"observation.state": JOINTS}
    bags = find_bags(tmp_path / "bags")
    report = convert(bags, tmp_path / "data", mapping(features=features))
    assert [each["name"] for each in report["bags"]] == ["a", "b"]
    _, columns = opened(tmp_path / "data")
    assert np.diff(columns["observation.state"][:25, 1]) == pytest.approx(0.1, abs=1e-6)


def test_bags_of_different_cameras_are_not_mixed(clock_bag, new_bag, tmp_path):
    clock_bag("a").write()
    other = new_bag("b")
    for time_s in np.arange(0.0, 2.0, 0.05):
        other.image(time_s, 9, shape=(16, 16))
    other.write()
    features = {FRONT: {"topic": "/camera"}}
    with pytest.raises(
        BagError, match=r"b: observation.images.front: expected shape \(32, 48, 3\)"
    ):
        convert([tmp_path / "a", tmp_path / "b"], tmp_path / "d", mapping(features=features))
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({FRONT: {"topic": "/camra"}}, "features, observation.images.front: topic: expected one of "
         ".*/camera.*got '/camra'; do you mean /camera"),
        ({FRONT: {"topic": "/twist"}}, "topic /twist: expected one of sensor_msgs/msg/Image, "),
        ({"action": {"topic": "/camera"}}, "features, action: topic /camera: expected one of sen"),
        ({"action": {"topic": "/joint_states"}}, "names: expected some of a, b, got none"),
        ({"action": {"topic": "/command", "names": ["c"]}}, "names: expected one of a, b, got 'c'"),
        ({"action": {"topic": "/twist", "names": ["x"]}}, "expected 6, for vx, vy, .*, got x"),
        ({"action": [{"topic": "/twist"}, {"topic": "/twist"}]}, "expected each name once"),
        ({"action": {"topic": "/joint_states", "names": ["a"], "field": "effort"}},
         "effort: expected one number for each of 2 names, got 0"),
    ],
)  # fmt: skip
def test_what_the_bag_does_not_have_is_said_with_the_choices(
    clock_bag, tmp_path, features, message
):
    clock_bag(duration_s=1.0).write()
    with pytest.raises((BagError, MappingError), match=message):
        convert([tmp_path / "bag"], tmp_path / "data", mapping(features=features))
    assert os.listdir(tmp_path) == ["bag"]


def test_two_clocks_are_refused(clock_bag, tmp_path):
    bag = clock_bag(duration_s=1.0)
    for time_s in np.arange(0.0, 1.0, 0.1):
        bag.joints(time_s, (0.0, 0.0), delay_s=3.0, topic="/other")
    bag.write()
    features = {"observation.state": {"topic": "/other", "names": ["a"]},
                FRONT: {"topic": "/camera"}}  # fmt: skip
    with pytest.raises(BagError, match="/other 3.00 s: expected 0.5 s between topics at most"):
        convert([tmp_path / "bag"], tmp_path / "data", mapping(features=features))


@pytest.mark.parametrize("ahead_s", [2.0, -2.0])
def test_trajectories_of_another_clock_are_refused(clock_bag, tmp_path, ahead_s):
    bag = clock_bag(duration_s=1.0)
    for time_s in np.arange(0.0, 1.0, 0.1):
        bag.trajectory(time_s, (0.0, 0.0), 0.2, topic="/plan", stamp_s=10.0 + time_s + ahead_s)
        bag.joints(10.0 + time_s, (0.0, 0.0), topic="/other")
    bag.rows = [
        (topic, at_ns + (topic == "/plan") * 10 * 10**9, message)
        for topic, at_ns, message in bag.rows
        if topic in ("/plan", "/other")
    ]
    bag.write()
    features = {"observation.state": {"topic": "/other", "names": ["a"]},
                "action": {"topic": "/plan", "names": ["a"]}}  # fmt: skip
    with pytest.raises(BagError, match=f"/plan .*{-ahead_s:.2f} s.*their clocks differ"):
        convert([tmp_path / "bag"], tmp_path / "data", mapping(features=features))


def test_trajectories_that_begin_when_they_say_are_taken(clock_bag, tmp_path):
    bag = clock_bag(duration_s=2.0)
    bag.rows = [row for row in bag.rows if row[0] != "/command"]
    for time_s in np.arange(0.0, 2.0, 0.1):
        bag.trajectory(time_s, (time_s + 0.2, 0.0), 0.1, stamp_s=time_s + 0.1)
    bag.write()
    report = convert([tmp_path / "bag"], tmp_path / "data", mapping())
    topic = report["bags"][0]["topics"]["/command"]
    assert (topic["stamped"], topic["delay_ms"]) == (True, -100.0)


def gripper(bag, duration_s=3.0, delay_s=0.002, behind_s=0.005):
    """A second driver on the arm's topic; it has no velocities."""
    for time_s in np.arange(behind_s, duration_s, 1 / 50):
        bag.joints(time_s - behind_s, (2 * time_s,), ("finger",), delay_s + behind_s)
        bag.rows[-1][2].velocity = np.zeros(0)


def test_arm_and_gripper_may_have_drivers_of_their_own_on_one_topic(clock_bag, tmp_path):
    bag = clock_bag()
    gripper(bag)
    bag.joints(1.0, (99.0,), ("wheel",), delay_s=5.0)  # nobody asks for it
    bag.write()
    features = {
        FRONT: {"topic": "/camera"},
        "observation.state": [JOINTS, {"topic": "/joint_states", "names": ["finger"]}],
        "observation.velocity": {
            "topic": "/joint_states", "names": ["a"], "field": "velocity",
        },
    }  # fmt: skip
    report = convert([tmp_path / "bag"], tmp_path / "data", mapping(features=features))
    _, columns = opened(tmp_path / "data")
    b, a, finger = columns["observation.state"].T
    assert b == pytest.approx(-a, abs=1e-6)
    assert finger == pytest.approx(2 * a + 0.01, abs=1e-5)
    assert np.ravel(columns["observation.velocity"]) == pytest.approx(10 * a, abs=1e-4)
    topic = report["bags"][0]["topics"]["/joint_states"]
    assert (topic["messages"], topic["late"]) == (301, 0)


def test_a_driver_with_a_clock_of_its_own_is_refused_on_a_shared_topic(clock_bag, tmp_path):
    bag = clock_bag()
    gripper(bag, delay_s=3.0)
    bag.write()
    state = [JOINTS, {"topic": "/joint_states", "names": ["finger"]}]
    features = {FRONT: {"topic": "/camera"}, "observation.state": state}
    with pytest.raises(BagError, match=r"/joint_states \(finger\) 3.0. s.*their clocks differ"):
        convert([tmp_path / "bag"], tmp_path / "data", mapping(features=features))


def test_a_message_with_some_of_the_names_is_an_error_and_names_seen_are_told(clock_bag, tmp_path):
    bag = clock_bag(duration_s=1.0)
    gripper(bag, 1.0)
    bag.write()
    for names, message in (
        (["a", "finger"], "names: expected one of a, b, got 'finger'"),
        (["thumb"], "/joint_states: names: expected one of a, b, finger, got 'thumb'"),
    ):
        features = {"observation.state": {"topic": "/joint_states", "names": names}}
        with pytest.raises(MappingError, match=message):
            convert([tmp_path / "bag"], tmp_path / "data", mapping(features=features))


def test_numbers_that_are_none_damaged_and_other_files(clock_bag, tmp_path):
    bag = clock_bag(duration_s=1.0)
    bag.joints(0.5, (np.nan, 0.0))
    bag.write()
    with pytest.raises(BagError, match="/joint_states: expected finite numbers"):
        convert([tmp_path / "bag"], tmp_path / "data", mapping())
    file = tmp_path / "bag" / "bag.mcap"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BagError, match="cannot be read as a rosbag2.*mcap recover bag.mcap -o"):
        convert([tmp_path / "bag"], tmp_path / "data", mapping())
    with pytest.raises(BagError, match="expected a rosbag2 .* it is none"):
        find_bags(tmp_path / "bag" / "metadata.yaml")
    with pytest.raises(BagError, match="no such file"):
        find_bags(tmp_path / "none")


def test_the_command_prints_and_writes_the_report(clock_bag, tmp_path, vla_ros):
    bag = clock_bag()
    bag.publishers = {"/joint_states": 2, "/camera": 1}
    bag.write()
    path = tmp_path / "mapping.yaml"
    path.write_text(
        "features:\n  observation.images.front: {topic: /camera}\n"
        "  observation.state: {topic: /joint_states, names: [a, b]}\ntask: {text: lift it}\n"
    )
    words = ("convert", tmp_path / "bag", tmp_path / "data", "--mapping", path)
    code, out, err = vla_ros(*words, "--json", tmp_path / "report.json")
    assert code == 0, err
    assert "1 episodes, " in out and "/joint_states" in out and "largest skew" in out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["bags"][0]["topics"]["/camera"]["messages"] == 30
    assert "/joint_states had 2 publishers" in out and "/camera had" not in out
    code, _, err = vla_ros(*words)
    assert (code, err.count("error:")) == (2, 1)
    assert "already exists" in err
    path.write_text("features: {action: {topics: /x}}\ntask: {text: lift it}\n")
    code, _, err = vla_ros("convert", tmp_path / "bag", tmp_path / "d", "--mapping", path)
    assert code == 2
    assert (
        "features, action: expected one of topic, names, field, resample, at, got 'topics'" in err
    )


def test_an_existing_output_is_left_alone(clock_bag, tmp_path):
    clock_bag().write()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("")
    with pytest.raises(DatasetError, match="already exists"):
        convert([tmp_path / "bag"], tmp_path / "data", mapping())
    assert os.listdir(tmp_path / "data") == ["mine"]


MARKED = {"episodes": {"by": "topic", "topic": "/recording"}, "success": {"topic": "/ok"}}


def marked(new_bag, camera=None, joints=None, gripper=None, ok=((8.0, True), (18.0, True))):
    """Two episodes, from 1 s to 9 s and from 11 s to 19 s, that are called a success; `camera`,
    `joints` and `gripper` are from when to when each is silent."""
    bag = new_bag()

    def heard(time_s, silent):
        return silent is None or not silent[0] < time_s < silent[1]

    for tick in range(1000):
        time_s = tick / 50
        if heard(time_s, joints):
            bag.joints(time_s, (time_s, -time_s))
        if heard(time_s, gripper):
            bag.number(time_s, 0.5)
        if tick % 5 == 0 and heard(time_s, camera):
            bag.image(time_s, 9)
    for time_s, value in ((1.0, True), (9.0, False), (11.0, True), (19.0, False)):
        bag.flag(time_s, value, "/recording")
    for time_s, value in ok:
        bag.flag(time_s, value, "/ok")
    bag.write()
    features = {FRONT: {"topic": "/camera"}, "observation.state": [JOINTS, {"topic": "/gripper"}]}
    return {"features": features, **MARKED}


@pytest.mark.parametrize(
    ("silent", "message"),
    [
        ({"camera": (3.0, 12.5)}, "/camera: nothing for its last 6000 ms, at most 500 ms expected"),
        ({"camera": (0.0, 7.0)}, "/camera: nothing for its first 6000 ms"),
        ({"joints": (3.0, 12.5)}, "/joint_states: nothing for its last 6000 ms"),
        ({"gripper": (3.0, 12.5)}, "/gripper: nothing for its last 6000 ms"),
        ({"gripper": (3.0, 7.0)}, "/gripper: nothing for 3.00 ms, at most 500 ms expected"),
    ],
)
def test_an_episode_in_which_a_stream_dies_is_left_out(new_bag, tmp_path, silent, message):
    """What is left of it looks like a whole one, and may be called a success."""
    import re

    wanted = mapping(**marked(new_bag, **silent))
    if list(silent.values())[0][1] != 12.5:
        report = convert([tmp_path / "bag"], tmp_path / "data", wanted)
        assert report["episodes"] == 1
        (first, second) = report["bags"][0]["episodes"]
        assert (second["left_out"], second["success"]) == (None, True)
        assert re.match(message, first["left_out"])
        return
    with pytest.raises(BagError, match="nothing for its first 1500 ms") as error:
        convert([tmp_path / "bag"], tmp_path / "data", wanted)
    assert message in str(error.value)


def test_a_stream_that_dies_ends_no_recording_of_one_episode(new_bag, tmp_path):
    wanted = marked(new_bag, camera=(7.0, 99.0)) | {"episodes": {"by": "bag"}}
    with pytest.raises(BagError, match="/camera: nothing for its last 12980 ms"):
        convert([tmp_path / "bag"], tmp_path / "data", mapping(**wanted))


@pytest.mark.parametrize("first", ["camera", "wrist", "joints"])
@pytest.mark.parametrize("split", [{"by": "bag"}, {"by": "topic", "topic": "/instruction"}])
def test_drivers_that_end_one_after_another_cost_a_recording_its_last_rows(
    new_bag, tmp_path, first, split
):
    """As Ctrl-C ends them; nobody has marked the end."""
    bag = new_bag()
    bag.text(0.0, "lift it")
    for tick in range(300):
        time_s = tick / 50
        ends_s = {"camera": 6.0, "wrist": 6.0, "joints": 6.0, first: 4.01}
        if time_s < ends_s["joints"]:
            bag.joints(time_s, (time_s, -time_s))
        for name in ("camera", "wrist"):
            if tick % 5 == 0 and time_s < ends_s[name]:
                bag.image(time_s, 9, topic=f"/{name}")
    bag.write()
    features = {FRONT: {"topic": "/camera"}, "observation.state": JOINTS}
    features["observation.images.wrist"] = {"topic": "/wrist"}
    report = convert(
        [tmp_path / "bag"], tmp_path / "data", mapping(features=features, episodes=split)
    )
    (episode,) = report["bags"][0]["episodes"]
    rows = 45 if first == "wrist" else 40  # the age of images may be `max_gap_s`
    assert episode["rows"] == pytest.approx(rows, abs=1)
    assert episode["rows"] + episode["trimmed_rows"] == pytest.approx(59, abs=1)


def test_one_of_two_drivers_on_a_topic_that_dies_is_noticed(clock_bag, tmp_path):
    bag = clock_bag(duration_s=6.2)
    gripper(bag)
    bag.rows = [
        row for row in bag.rows if row[2].__msgtype__ != "sensor_msgs/msg/JointState"
        or list(row[2].name) == ["finger"] or row[1] < START_NS + 10**9
    ]  # fmt: skip
    bag.write()
    state = [JOINTS, {"topic": "/joint_states", "names": ["finger"]}]
    features = {FRONT: {"topic": "/camera"}, "observation.state": state}
    with pytest.raises(BagError, match="/joint_states: nothing for its last 51.. ms, at most 5000"):
        convert([tmp_path / "bag"], tmp_path / "data", mapping(features=features))


def test_what_is_published_when_it_changes_may_be_silent(new_bag, tmp_path):
    wanted = marked(new_bag, gripper=(0.01, 99.0))
    with pytest.raises(BagError, match="/gripper: nothing for its first"):
        convert([tmp_path / "bag"], tmp_path / "data", mapping(**wanted))
    wanted["features"]["observation.state"][1]["resample"] = "held"
    report = convert([tmp_path / "bag"], tmp_path / "data", mapping(**wanted))
    assert report["episodes"] == 2


def test_how_it_went_may_be_told_just_after_the_end_and_untold_is_no_failure(new_bag, tmp_path):
    wanted = mapping(**marked(new_bag, ok=((9.1, True),)))
    report = convert([tmp_path / "bag"], tmp_path / "data", wanted)
    assert [each["success"] for each in report["bags"][0]["episodes"]] == [True, None]
    _, columns = opened(tmp_path / "data")
    second = columns["episode_index"] == 1
    assert columns["next.success"][~second][-1] and not columns["next.success"][second].any()


def test_a_word_after_the_end_does_not_replace_the_one_within(new_bag, tmp_path):
    """Scripts take the word back for the next episode."""
    wanted = mapping(**marked(new_bag, ok=((8.9, True), (9.1, False), (19.3, True))))
    report = convert([tmp_path / "bag"], tmp_path / "data", wanted)
    assert [each["success"] for each in report["bags"][0]["episodes"]] == [True, None]


def test_the_same_text_is_the_next_episode_when_it_is_told_how_the_last_one_went(new_bag, tmp_path):
    bag = new_bag()
    for tick in range(800):
        bag.joints(tick / 50, (0.0, 0.0))
        if tick % 5 == 0:
            bag.image(tick / 50, 9)
    for time_s in (0.5, 4.0, 4.1, 4.2, 8.0, 12.0):  # the one at 12 s comes without a word before
        bag.text(time_s, "lift it")
    for time_s, value in ((3.5, False), (4.25, True), (7.5, True)):
        bag.flag(time_s, value)
    bag.write()
    changes = {
        "features": {FRONT: {"topic": "/camera"}, "observation.state": JOINTS},
        "episodes": {"by": "topic", "topic": "/instruction"},
        "task": {"topic": "/instruction"},
        "success": {"topic": "/episode/success"},
    }
    report = convert([tmp_path / "bag"], tmp_path / "data", mapping(**changes))
    episodes = report["bags"][0]["episodes"]
    assert [each["success"] for each in episodes] == [False, True, None]
    assert [each["duration_s"] for each in episodes] == pytest.approx([3.5, 4.0, 7.98], abs=0.02)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_whose_recorders_clock_was_set_back_is_refused(new_bag, tmp_path, storage):
    """Readers sort by that clock, and mix what came before and after."""
    bag = new_bag(storage=storage)
    bag.as_added = True
    for tick in range(500):
        time_s = tick / 50 if tick < 250 else tick / 50 - 2.0037
        bag.joints(time_s, (tick / 50, 0.0))
        if tick % 5 == 0:
            bag.image(time_s, 9)
    bag.write()
    features = {FRONT: {"topic": "/camera"}, "observation.state": JOINTS}
    with pytest.raises(BagError, match=r"bag: its recorder's clock was set back by 1.98 s"):
        convert([tmp_path / "bag"], tmp_path / "data", mapping(features=features))


def test_the_first_trajectory_is_not_reached_at_once(new_bag, tmp_path):
    bag = new_bag()
    for tick in range(250):
        bag.joints(tick / 50, (0.0, 0.0))
        if tick % 5 == 0:
            bag.image(tick / 50, 9)
    bag.trajectory(0.5, (1.0, 1.0), 3.0)
    bag.trajectory(4.0, (2.0, 2.0), 0.5)
    bag.write()
    convert([tmp_path / "bag"], tmp_path / "data", mapping())
    _, columns = opened(tmp_path / "data")
    action = columns["action"][:, 0]
    assert len(action) == pytest.approx(15, abs=1)  # before, nobody knows what it was told
    assert action[:4] == pytest.approx(1.0)
    assert np.diff(action[5:9]) == pytest.approx(0.2, abs=1e-3)


def test_two_conversions_to_one_folder_do_not_meet(clock_bag, tmp_path):
    for name in ("bags/a", "bags/b"):
        (tmp_path / "bags").mkdir(exist_ok=True)
        clock_bag(name).write()
    bags, refused = find_bags(tmp_path / "bags"), []

    def meanwhile(done, total):
        if done == 1:
            with pytest.raises(DatasetError, match="is being written to by another process"):
                convert(bags, tmp_path / "data", mapping())
            refused.append(done)

    report = convert(bags, tmp_path / "data", mapping(), meanwhile)
    data, _ = opened(tmp_path / "data")
    assert (refused, data.num_episodes, report["episodes"]) == ([1], 2, 2)
    assert sorted(os.listdir(tmp_path)) == ["bags", "data"]


def test_what_a_conversion_that_was_killed_has_left_is_removed(clock_bag, tmp_path):
    clock_bag().write()
    left = tmp_path / ".data.incomplete"
    (left / "videos").mkdir(parents=True)
    (left / "notes.txt").write_text("half")
    convert([tmp_path / "bag"], tmp_path / "data", mapping())
    assert sorted(os.listdir(tmp_path)) == ["bag", "data"]
    assert "notes.txt" not in os.listdir(tmp_path / "data")


def test_what_a_link_leads_to_is_not_emptied(clock_bag, tmp_path):
    clock_bag().write()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dear.txt").write_text("dear")
    link = tmp_path / ".data.incomplete"
    link.symlink_to(tmp_path / "other")
    with pytest.raises(DatasetError, match=r"expected a folder, .*\.data\.incomplete is a link"):
        convert([tmp_path / "bag"], tmp_path / "data", mapping())
    assert os.listdir(tmp_path / "other") == ["dear.txt"]
    assert not (tmp_path / "data").exists()
    link.unlink()
    link.mkdir()
    (link / "videos").symlink_to(tmp_path / "other")  # nor what one within leads to
    convert([tmp_path / "bag"], tmp_path / "data", mapping())
    assert os.listdir(tmp_path / "other") == ["dear.txt"]


def test_an_output_that_is_a_link_is_refused_before_the_work(clock_bag, tmp_path):
    """At the end nothing can be renamed onto it, and the dataset would be lost."""
    clock_bag().write()
    (tmp_path / "other").mkdir()
    for target in ("other", "nowhere"):
        (tmp_path / target[:1]).symlink_to(tmp_path / target)
        with pytest.raises(DatasetError, match=f"expected a folder, .*{target[:1]} is a link"):
            convert([tmp_path / "bag"], tmp_path / target[:1], mapping())
