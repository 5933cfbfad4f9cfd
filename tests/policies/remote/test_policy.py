"""The robot's end alone: a made-up server, made-up clocks, nothing waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policies.interface import ActionError, ObservationError, ToolLimits, UnfitPolicyError
from policies.remote.codec import pack, unpack
from policies.remote.envelope import KEY, Answer
from policies.remote.errors import ConnectionLostError, RemoteError
from policies.remote.policy import RemotePolicy
from policies.remote.settings import parse_remote
from policies.remote.table import KeyTable
from policies.remote.welcome import Welcome

LIMITS = ToolLimits(speed_m_s=0.5, turn_rad_s=2.0, step_m=0.04)
MS = 1_000_000
AHEAD_NS = 5_000 * MS  # the server's clock
STATISTICS = {"key": "set", "q01": [-0.04] * 7, "q99": [0.04] * 7, "mask": [True] * 7}
OURS = Welcome("mirror", ("front",), KeyTable(), checked=True, rate_hz=10.0, statistics=STATISTICS)


class World:
    """A clock that only the test, the network and waiting move, and a server on it."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000 * MS
        self.slept_s: list[float] = []
        self.welcome: Any = OURS
        self.up = True
        self.opened = 0
        self.answers: deque[Any] = deque()  # instead of the usual one; "silence", "hang up"
        self.asked: list[dict[str, Any]] = []
        self.open_connections = 0
        self.abandoned = 0
        self.is_blocked = False  # the network takes no more bytes

    def clock_ns(self) -> int:
        return self.now_ns

    def monotonic_s(self) -> float:
        return self.now_ns / 1e9

    def sleep(self, duration_s: float) -> None:
        self.slept_s.append(duration_s)
        self.now_ns += round(duration_s * 1e9) or MS

    def open(self, settings: Any, timeout_s: float) -> FakeConnection:
        self.opened += 1
        if not self.up:
            raise ConnectionLostError("cannot connect: refused")
        return FakeConnection(self)

    def policy(self, options: str = "") -> RemotePolicy:
        settings = parse_remote(f"ws://gpu:8000{options}", {})
        return RemotePolicy(settings, self.open, self.clock_ns, self.monotonic_s, self.sleep)


class FakeConnection:
    """3 ms to the server, 20 ms there, 5 ms back."""

    def __init__(self, world: World) -> None:
        self.world = world
        welcome = world.welcome
        self.frames: deque[Any] = deque(
            [welcome.as_frame() if isinstance(welcome, Welcome) else welcome]
        )
        world.open_connections += 1

    def send(self, data: bytes, timeout_s: float) -> None:
        world = self.world
        if world.is_blocked:
            world.now_ns += round(timeout_s * 1e9)
            raise TimeoutError
        if not world.up:
            raise ConnectionLostError("the connection was lost: gone")
        message = unpack(data)
        world.asked.append(message)
        world.now_ns += 3 * MS
        answer = world.answers.popleft() if world.answers else usual(world, message)
        self.frames.append(answer)

    def receive(self, timeout_s: float) -> bytes | str:
        frame = self.frames.popleft() if self.frames else "silence"
        if callable(frame):
            frame = frame(self)
        if frame == "silence":
            self.world.now_ns += round(timeout_s * 1e9)
            raise TimeoutError
        if frame == "hang up":
            raise ConnectionLostError("the connection was lost: closed")
        self.world.now_ns += 5 * MS
        return frame

    def close(self) -> None:
        self.world.open_connections -= 1

    def abandon(self) -> None:
        self.world.open_connections -= 1
        self.world.abandoned += 1


def usual(world: World, message: dict[str, Any], **changes: Any) -> bytes:
    """What a server of ours answers: the brightness as x, in metres over 10,000."""
    received_ns = world.now_ns + AHEAD_NS
    world.now_ns += 20 * MS
    actions = np.zeros((2, 7))
    actions[:, 0] = message["observation/image"].mean() / 1e4
    answer = Answer(
        message[KEY]["id"],
        received_ns,
        world.now_ns + AHEAD_NS,
        queue_ms=4.0,
        inference_ms=16.0,
        dt_s=0.1,
        statistics_hash="abc",
        diagnostics={"inference_ms": 15.0, "note": "text"},
    )
    return pack({"actions": actions, KEY: answer.as_dict() | changes})


@pytest.fixture
def world() -> World:
    return World()


def test_a_question_its_answer_and_the_times(world: World, observe: Any) -> None:
    policy = world.policy()
    assert (policy.name, policy.cameras) == ("mirror at ws://gpu:8000", ("front",))
    chunk = policy.predict_chunk(observe(100, stamp_ns=42))
    np.testing.assert_allclose(chunk.actions[:, 0], 0.01)
    assert (chunk.stamp_ns, chunk.dt_s, chunk.statistics_hash) == (42, 0.1, "abc")
    assert chunk.diagnostics == {
        "inference_ms": 15.0,
        "remote_queue_ms": 4.0,
        "remote_inference_ms": 16.0,
        "remote_server_ms": 20.0,
        "remote_network_ms": 8.0,
        "remote_clock_offset_ms": 4999.0,  # 3 ms there, 5 ms back: 1 ms off, 4 ms allowed
        "remote_clock_error_ms": 4.0,
        "remote_question": 1,
        "remote_connections": 1.0,
    }
    (asked,) = world.asked
    assert set(asked) == {
        "observation/image",
        "observation/state",
        "observation/joint_position",
        "prompt",
        KEY,
    }


def test_a_reset_goes_with_the_next_question_until_it_was_heard(world: World, observe: Any) -> None:
    policy = world.policy()
    policy.predict_chunk(observe())
    policy.reset(seed=11)
    world.answers.append("hang up")
    with pytest.raises(ConnectionLostError):
        policy.predict_chunk(observe())
    policy.predict_chunk(observe())
    policy.predict_chunk(observe())
    resets = [(asked[KEY]["reset"], asked[KEY]["seed"]) for asked in world.asked]
    assert resets == [(True, None), (True, 11), (True, 11), (False, None)]


@pytest.mark.parametrize(
    ("kind", "expected", "shown"),
    [
        ("ObservationError", ObservationError, "no such word"),
        ("ActionError", ActionError, "no such word"),
        ("KeyError", RemoteError, "no such word"),
        ("ConnectionError", ConnectionLostError, "no such word"),
    ],
)
def test_what_the_policy_raises_there_is_raised_here(
    world: World, observe: Any, kind: str, expected: type, shown: str
) -> None:
    policy = world.policy()
    world.answers.append(
        lambda connection: usual(world, world.asked[-1], kind=kind, error="no such word")
    )
    with pytest.raises(expected, match=shown):
        policy.predict_chunk(observe())
    policy.predict_chunk(observe())
    assert world.opened == 1  # the connection was not at fault


def test_an_earlier_answer_is_not_taken_for_the_next(world: World, observe: Any) -> None:
    policy = world.policy()
    policy.predict_chunk(observe(100))
    first, late = world.asked[0], []

    def late_then_right(connection: FakeConnection) -> bytes:
        connection.frames.appendleft(usual(world, world.asked[-1]))
        late.append(first)
        return usual(world, first)

    world.answers.append(late_then_right)
    chunk = policy.predict_chunk(observe(200))
    assert late
    np.testing.assert_allclose(chunk.actions[:, 0], 0.02)
    assert world.opened == 1


@pytest.mark.parametrize("blocked", [False, True])
def test_who_does_not_answer_in_time_is_hung_up_on(
    world: World, observe: Any, blocked: bool
) -> None:
    """Whether the answer does not come or the question does not go out; the next one goes out on
    a new connection, which a network that went silent may pass at once."""
    policy = world.policy("?timeout_s=0.5")
    policy.predict_chunk(observe())
    world.is_blocked = blocked
    world.answers.append("silence")
    before_ns = world.now_ns
    with pytest.raises(ConnectionLostError, match=r"gpu:8000: no answer within 0\.5 s"):
        policy.predict_chunk(observe(100))
    assert world.now_ns - before_ns == 500 * MS
    assert (world.abandoned, world.open_connections) == (1, 0)
    world.is_blocked = False
    world.answers.clear()
    np.testing.assert_allclose(policy.predict_chunk(observe(200)).actions[:, 0], 0.02)
    assert world.opened == 2


def test_sending_and_hearing_share_the_time(world: World, observe: Any) -> None:
    policy = world.policy("?timeout_s=0.5")
    world.answers.append("silence")
    before_ns = world.now_ns
    with pytest.raises(ConnectionLostError, match="no answer"):
        policy.predict_chunk(observe())  # sending takes 3 ms
    assert world.now_ns - before_ns == 500 * MS


def test_an_answer_from_the_future_ends_the_connection(world: World, observe: Any) -> None:
    policy = world.policy()
    world.answers.append(lambda connection: usual(world, world.asked[-1], id=99))
    with pytest.raises(RemoteError, match="expected the answer to question 1, got 99"):
        policy.predict_chunk(observe())
    assert world.open_connections == 0
    policy.predict_chunk(observe())
    assert world.opened == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\xc1", "expected msgpack"),
        (pack([1]), "expected an answer with keys, got list"),
        (pack({"actions": np.zeros((1, 7))}), "vla_ros: expected fields"),
        (pack({KEY: {"id": "1"}}), "vla_ros.id: expected int, got '1'"),
        (pack({KEY: {"id": 1}}), "vla_ros.received_ns is missing"),
        ("Traceback\n  File\nKeyError: 'x'\n", "the server answers: KeyError: 'x'"),
        ("", "the server answers: nothing"),
        ("hang up", "the connection was lost"),
    ],
)
def test_what_is_no_answer_ends_the_connection(
    world: World, observe: Any, answer: Any, said: str
) -> None:
    policy = world.policy()
    world.answers.append(answer)
    with pytest.raises(RemoteError) as caught:
        policy.predict_chunk(observe())
    assert said in str(caught.value)
    assert str(caught.value).startswith("ws://gpu:8000: ")
    assert world.open_connections == 0
    policy.predict_chunk(observe())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dt_s": 0.0}, "dt_s: expected a positive number"),
        ({"mode": "fast"}, "mode: expected 'delta' or 'absolute'"),
    ],
)
def test_a_chunk_that_is_none_is_refused(
    world: World, observe: Any, changes: dict[str, Any], said: str
) -> None:
    policy = world.policy()
    world.answers.append(lambda connection: usual(world, world.asked[-1], **changes))
    with pytest.raises(ActionError, match=said):
        policy.predict_chunk(observe())


def test_it_says_at_once_that_the_server_is_gone_and_finds_it_again(
    world: World, observe: Any
) -> None:
    policy = world.policy()
    policy.predict_chunk(observe())
    world.up = False
    attempts = []
    for _ in range(60):  # six seconds of questions at 9 Hz
        before_ns, opened = world.now_ns, world.opened
        with pytest.raises(ConnectionLostError, match="connection was lost|cannot connect"):
            policy.predict_chunk(observe())
        assert world.now_ns == before_ns  # the robot is not kept waiting
        attempts.append(world.opened - opened)
        world.now_ns += 110 * MS
    assert world.slept_s == []
    assert attempts[:8] == [0, 1, 1, 0, 1, 0, 0, 0]  # pauses of 0.1, 0.2, 0.4 s ...
    assert sum(attempts) == 7  # ... up to 2 s
    world.up = True
    world.now_ns += 2_000 * MS
    chunk = policy.predict_chunk(observe())
    assert chunk.diagnostics["remote_connections"] == 2


def test_patience_waits_instead(world: World, observe: Any) -> None:
    policy = world.policy("?patience_s=5")
    world.up = False
    began_ns = world.now_ns
    with pytest.raises(ConnectionLostError, match="gpu:8000: cannot connect: refused$"):
        policy.predict_chunk(observe())
    assert world.now_ns - began_ns == pytest.approx(5e9, rel=0.01)
    world.slept_s.clear()
    original = world.sleep

    def sleep(duration_s: float) -> None:
        original(duration_s)
        world.up = len(world.slept_s) >= 2

    policy._sleep = sleep
    world.now_ns += 3_000 * MS
    np.testing.assert_allclose(policy.predict_chunk(observe(100)).actions[:, 0], 0.01)
    assert len(world.slept_s) >= 2


def test_a_server_may_start_later_than_the_robot(world: World) -> None:
    world.up = False
    with pytest.raises(ConnectionLostError, match="gpu:8000: cannot connect: refused$"):
        world.policy("?start_timeout_s=3")  # and nothing of a next attempt
    assert sum(world.slept_s) == pytest.approx(3.0, abs=0.1)


def test_another_policy_after_a_restart_is_not_obeyed(world: World, observe: Any) -> None:
    policy = world.policy()
    policy.close()
    world.welcome = Welcome("other", ("front",), KeyTable(), checked=True)
    with pytest.raises(UnfitPolicyError, match="other, before mirror.*has not been checked"):
        policy.predict_chunk(observe())
    assert world.asked == []
    assert world.open_connections == 0
    world.welcome = OURS
    world.now_ns += 1_000 * MS
    policy.predict_chunk(observe())


def test_another_checkpoint_of_the_same_name_is_not_obeyed(world: World, observe: Any) -> None:
    """LeRobot's checkpoints all lie in a folder `pretrained_model`, and have no statistics."""
    first = Welcome("act (pretrained_model)", ("front",), KeyTable(), checkpoint="1f" * 32)
    world.welcome = first
    policy = world.policy()
    policy.close()
    world.welcome = replace(first, checkpoint="2e" * 32)
    said = r"\(act \(pretrained_model\) 2e2e2e2e2e2e, before act \(pretrained_model\) 1f1f1f1f1f1f"
    with pytest.raises(UnfitPolicyError, match=said):
        policy.predict_chunk(observe())
    assert world.asked == []


@pytest.mark.parametrize(
    ("welcome", "options", "said"),
    [
        (
            pack({KEY: OURS.as_message()[KEY] | {"checkpoint": 7}}),
            "",
            "checkpoint: expected a hash",
        ),
        (pack({}), "", "does not say which keys it uses; add `\\?table=libero`"),
        (pack({}), "?table=libero&images=jpeg", "openpi's servers take raw ones only"),
        (OURS, "?table=libero", "this server says its own"),
        (pack([]), "", "expected the server's metadata, got list"),
        ("hello", "", "expected the server's metadata, got text: 'hello'"),
        (b"\xc1", "", "expected msgpack"),
        (pack({KEY: {"version": 2}}), "", "version: expected 1, got 2"),
        (pack({KEY: 3}), "", "version: expected 1, got None"),
        (
            pack({KEY: OURS.as_message()[KEY] | {"cameras": "front"}}),
            "",
            "cameras: expected a list",
        ),
        (pack({KEY: OURS.as_message()[KEY] | {"cameras": ["side"]}}), "", "policy looks at side"),
        (pack({KEY: OURS.as_message()[KEY] | {"policy": 3}}), "", "expected names of the policy"),
        (pack({KEY: OURS.as_message()[KEY] | {"rate_hz": "10"}}), "", "rate_hz: expected a number"),
        (pack({KEY: OURS.as_message()[KEY] | {"table": {"x": 1}}}), "", "table: expected some of"),
        (
            pack({KEY: OURS.as_message()[KEY] | {"statistics": {}}}),
            "",
            "statistics: expected lists",
        ),
        (
            pack({KEY: OURS.as_message()[KEY] | {"statistics": STATISTICS | {"q01": np.ones(7)}}}),
            "",
            "statistics: expected lists",
        ),
    ],
)
def test_a_server_that_cannot_be_used_is_refused_when_connecting(
    world: World, welcome: Any, options: str, said: str
) -> None:
    world.welcome = welcome
    with pytest.raises(RemoteError, match=said):
        world.policy(options)
    assert world.open_connections == 0


def fitted(world: World, **changes: Any) -> RemotePolicy:
    world.welcome = Welcome(**{**vars(OURS), **changes})
    policy = world.policy()
    policy.check_fit(LIMITS)
    return policy


def test_statistics_of_this_robot_pass_and_others_do_not(world: World) -> None:
    fitted(world)
    fast = {**STATISTICS, "q99": [0.04, 0.06, *[0.04] * 5]}
    with pytest.raises(UnfitPolicyError, match=r"statistics of 'set': y: a step of 0\.06 m at 10"):
        fitted(world, statistics=fast)
    with pytest.raises(UnfitPolicyError, match="expected 7 numbers per action"):
        fitted(world, statistics={**STATISTICS, "q01": [0.0]})
    with pytest.raises(UnfitPolicyError, match="expected action.q01 and q99"):
        fitted(world, statistics={**STATISTICS, "q01": ["a"] * 7})
    with pytest.raises(UnfitPolicyError, match="how many actions a second"):
        fitted(world, rate_hz=None)
    with pytest.raises(UnfitPolicyError, match="did not check that mirror looks"):
        fitted(world, checked=False)


def test_without_statistics_every_chunk_is_held_against_the_limits(
    world: World, observe: Any
) -> None:
    policy = fitted(world, statistics=None)
    policy.predict_chunk(observe(200))
    world.answers.append(lambda connection: long_step(world))
    with pytest.raises(ActionError, match=r"y: a step of 0\.05 m in 0\.1 s; .* allows 0\.04 m"):
        policy.predict_chunk(observe())


def long_step(world: World) -> bytes:
    answer = unpack(usual(world, world.asked[-1]))
    actions = answer["actions"].copy()
    actions[1, 1] = -0.05
    return pack({**answer, "actions": actions})


# --- an openpi server, which says nothing about its policy --------------------------------------


def openpi(world: World, answer: Callable[[dict[str, Any]], np.ndarray]) -> RemotePolicy:
    """Behaves as openpi's: metadata of its own, actions and `server_timing`, nothing of ours."""
    world.welcome = pack({"action_horizon": 10})

    class Forever(deque):
        def popleft(self) -> Any:
            return lambda connection: pack(
                {"actions": answer(world.asked[-1]), "server_timing": {"infer_ms": 2.5}}
            )

        def __bool__(self) -> bool:
            return True

    world.answers = Forever()
    return world.policy("?table=libero")


def alive(message: dict[str, Any]) -> np.ndarray:
    actions = np.zeros((10, 7))
    actions[:, 0] = message["observation/image"].mean() / 1e3
    actions[:, 1] = len(message["prompt"]) / 100
    actions[:, 6] = 1.0
    return actions


def test_openpis_answers_are_understood(world: World, observe: Any) -> None:
    policy = openpi(world, alive)
    assert (policy.name, policy.cameras) == ("openpi at ws://gpu:8000", ("front", "wrist"))
    chunk = policy.predict_chunk(observe(100))
    assert chunk.actions.shape == (10, 7)
    np.testing.assert_allclose(chunk.actions[0], [0.005, 0.001, 0, 0, 0, 0, 0])
    assert chunk.dt_s == 0.05
    assert chunk.diagnostics["remote_inference_ms"] == 2.5
    assert chunk.diagnostics["remote_network_ms"] == 5.5
    assert KEY not in world.asked[-1]


def test_openpis_late_answer_cannot_be_told_so_the_connection_ends(
    world: World, observe: Any
) -> None:
    policy = openpi(world, alive)
    world.answers = deque(["silence"])
    with pytest.raises(ConnectionLostError, match="no answer"):
        policy.predict_chunk(observe())
    assert world.open_connections == 0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda message: np.zeros((1, 7)), "ignores the images"),
        (
            lambda message: np.full((1, 7), message["observation/image"].mean() / 1e4),
            "ignores the instruction",
        ),
    ],
)
def test_a_dead_openpi_policy_is_refused(world: World, answer: Any, said: str) -> None:
    with pytest.raises(UnfitPolicyError, match=said):
        openpi(world, answer).check_fit(LIMITS)


def test_a_live_one_passes_and_its_chunks_are_held_against_the_limits(
    world: World, observe: Any
) -> None:
    policy = openpi(world, alive)
    policy.check_fit(LIMITS)
    policy.predict_chunk(observe(100))
    with pytest.raises(ActionError, match=r"allows 0\.025 m"):  # 0.5 m/s for 0.05 s
        policy.predict_chunk(observe(255, instruction="x" * 90))
