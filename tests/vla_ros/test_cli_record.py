"""What is wrong with a recording or a page is one line, said before anything starts."""

import os

import pytest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("record", "data", "--rate", "0"), "rate_hz: expected 1 to 100, got 0"),
        (("record", "data", "--cameras", ","), "cameras: expected at least one"),
        (("record", "data", "--max-gap", "60"), "max_gap_s: expected 0 to 10 s, got 60"),
        (("record", "data", "--cameras", "fr ont"), "got 'fr ont'"),
        (("record", "file/data"), "output: expected a folder, file is a file"),
        (("record", "file"), "output: expected a folder, file is a file"),
        (("watch", "--cameras", "front,fr ont"), "cameras: expected names as in /NAME/image_raw"),
        (("watch", "--cameras", "2nd"), "got '2nd'"),
        (("watch", "--cameras", "a__b"), "got 'a__b'"),
        (("watch", "--host", "0.0.0.0"), "host: expected the name or address by which pages ask"),
        (("watch", "--host", "::"), "got '::': they would be refused"),
        (("watch", "--token", "short"), "token: expected 8 or more letters, digits"),
        (("watch", "--token", "with spaces in it"), "token: expected 8 or more letters"),
        (("watch", "--token", "long-enough", "--token-file", "file"), "got both"),
        (("watch", "--token-file", "none"), "token-file: cannot read none"),
    ],
)
def test_mistakes_are_one_line(vla_ros, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    code, _, err = vla_ros(*words)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_no_dataset_is_refused_before_anything_is_recorded(vla_ros, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("mine")
    code, out, err = vla_ros("record", tmp_path / "data")
    assert code == 2
    assert "already exists and is no LeRobotDataset" in err
    assert err.count("\n") == 1
    assert "Recording" not in out
    assert os.listdir(tmp_path / "data") == ["notes.txt"]
