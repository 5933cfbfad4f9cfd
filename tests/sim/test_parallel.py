"""Jobs in several processes: the order, the errors, and no process left behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from sim.parallel import (
    WorkerError,
    interrupts_deferred,
    interrupts_kept_from_children,
    ordered_map,
)


def test_results_come_in_the_order_of_the_jobs():
    assert list(ordered_map(abs, range(-20, 0), workers=1)) == list(range(20, 0, -1))
    assert list(ordered_map(abs, range(-20, 0), workers=2)) == list(range(20, 0, -1))


def test_an_endless_list_of_jobs_is_taken_as_it_is_needed():
    taken = []

    def jobs():
        while True:
            taken.append(len(taken))
            yield taken[-1]

    results = ordered_map(abs, jobs(), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    results.close()
    assert len(taken) < 20


def test_a_jobs_error_is_raised_here():
    with pytest.raises(ValueError, match="math domain|nonnegative"):
        list(ordered_map(__import__("math").sqrt, [1.0, -1.0], workers=2))


def test_a_dead_worker_is_named():
    with pytest.raises(WorkerError, match="one of the 2 worker processes died"):
        list(ordered_map(os._exit, [3], workers=2))


def test_the_number_of_workers_is_checked():
    with pytest.raises(ValueError, match="workers: expected 1 or more, got 0"):
        list(ordered_map(abs, [1], workers=0))


def test_workers_end_when_their_parent_is_killed():
    code = (
        "import time, os\n"
        "from sim.parallel import ordered_map\n"
        "if __name__ == '__main__':\n"
        "    results = ordered_map(time.sleep, [0.0] * 8 + [600.0] * 8, workers=2)\n"
        "    next(results)\n"
        "    import multiprocessing\n"
        "    print(*[child.pid for child in multiprocessing.active_children()], flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    deadline_s = time.monotonic() + 20
    while any(_is_running(pid) for pid in workers):
        assert time.monotonic() < deadline_s, "a worker outlived its parent"
        time.sleep(0.1)


def test_the_first_interrupt_is_only_noted():
    with interrupts_deferred() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), 2)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), 2)
            time.sleep(1)


def test_an_interrupt_while_processes_start_is_not_lost():
    with pytest.raises(KeyboardInterrupt), interrupts_kept_from_children():
        os.kill(os.getpid(), signal.SIGINT)


def test_processes_started_meanwhile_survive_an_interrupt():
    with interrupts_kept_from_children():
        child = subprocess.Popen(["sleep", "600"])
    try:
        child.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=0.3)
    finally:
        child.kill()
        child.wait()


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
