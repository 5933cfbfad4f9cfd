"""An emergency stop outlives the executor, but not the graph."""

from vla_ros.graph import RUN_FOLDER
from vla_ros.stop_latch import StopLatch


def test_a_stop_is_known_to_the_next_executor_until_it_is_reset(tmp_path, monkeypatch):
    monkeypatch.setenv(RUN_FOLDER, str(tmp_path))
    latch = StopLatch()
    assert not latch.is_set
    latch.set()
    latch.set()
    assert StopLatch().is_set
    StopLatch().clear()
    latch.clear()
    assert not latch.is_set


def test_another_graph_does_not_know_it(tmp_path):
    StopLatch(str(tmp_path)).set()
    other = tmp_path / "other"
    other.mkdir()
    assert not StopLatch(str(other)).is_set


def test_without_a_folder_nothing_is_kept(monkeypatch):
    monkeypatch.delenv(RUN_FOLDER, raising=False)
    latch = StopLatch()
    latch.set()
    assert not latch.is_set
    latch.clear()
