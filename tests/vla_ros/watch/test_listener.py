"""Whether an executor hears a command: by its heartbeat, not by who else subscribes."""

from vla_ros.watch.listener import SILENT_S, Listener

NOBODY = "nobody listens: there is no executor_node"


def test_a_subscriber_alone_is_no_executor():
    assert Listener().silence(100.0, subscriptions=1) == NOBODY


def test_a_heartbeat_that_cannot_be_stopped_is_not_enough():
    listener = Listener()
    listener.on_heartbeat(100.0)
    assert listener.silence(100.1, subscriptions=0) == NOBODY


def test_an_executor_that_is_heard_hears():
    listener = Listener()
    listener.on_heartbeat(100.0)
    assert listener.silence(100.0 + SILENT_S, subscriptions=1) == ""


def test_one_that_died_is_told_with_the_time_of_its_silence():
    listener = Listener()
    listener.on_heartbeat(100.0)
    said = listener.silence(107.5, subscriptions=1)
    assert said == "nobody may listen: executor_node has been silent for 7.5 s"
    listener.on_heartbeat(108.0)
    assert listener.silence(108.1, subscriptions=1) == ""
