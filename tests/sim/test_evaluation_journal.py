"""An interrupted evaluation goes on where it stopped, and only with its own settings."""

import json

import pytest

from sim.env import TabletopEnv
from sim.evaluation import Evaluation, Timing, evaluate_all, run_episode
from sim.evaluation.journal import Journal, JournalError, journal_path
from sim.policies import load_named

LIFT = ("VlaRos/Lift-v0",)


def settings(**changes):
    return Evaluation(**({"policy": "expert", "env_ids": LIFT, "episodes": 4, "seed": 7} | changes))


class StopError(Exception):
    """Somebody pulls the plug."""


def run(file, evaluations, resume=False, stop_after=None, workers=None):
    """The summary, and how many episodes were run rather than read."""
    journal = Journal.begin(file, evaluations, resume)
    fresh = []
    known = len(journal.known)

    def count(done):
        fresh.append(done)
        if len(fresh) == stop_after:
            raise StopError

    try:
        summary = evaluate_all(evaluations, count, journal)
    finally:
        journal.close()
    return summary, len(fresh) - known


def without_latency(summary):
    return {
        key: [without_latency(part) for part in value] if key.startswith("by_") else value
        for key, value in summary.items()
        if key != "policy_latency_ms"
    }


@pytest.mark.parametrize(
    "evaluations",
    [[settings()], [settings(), settings(timing=Timing(200.0))]],
    ids=["one condition", "two conditions"],
)
def test_it_goes_on_where_it_stopped(tmp_path, evaluations):
    file = tmp_path / "result.json"
    whole, _ = run(file, evaluations)
    with pytest.raises(StopError):
        run(file, evaluations, stop_after=3)
    assert len(journal_path(file).read_text().splitlines()) == 1 + 3
    resumed, fresh = run(file, evaluations, resume=True)
    assert fresh == 4 * len(evaluations) - 3
    assert without_latency(resumed) == without_latency(whole)


def test_a_line_cut_off_by_a_crash_is_run_again(tmp_path):
    file = tmp_path / "result.json"
    run(file, [settings()])
    journal = journal_path(file)
    journal.write_text(journal.read_text()[:-20])
    _, fresh = run(file, [settings()], resume=True)
    assert fresh == 1
    assert len(journal.read_text().splitlines()) == 5


def test_without_resume_it_begins_again(tmp_path):
    file = tmp_path / "result.json"
    run(file, [settings()])
    _, fresh = run(file, [settings()])
    assert fresh == 4


def test_what_fails_before_the_first_episode_leaves_it_as_it_was(tmp_path):
    file = tmp_path / "result.json"
    Journal.begin(file, [settings()], resume=False).close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(StopError):
        run(file, [settings()], stop_after=2)
    before = journal_path(file).read_text()
    Journal.begin(file, [settings(seed=8)], resume=False).close()
    assert journal_path(file).read_text() == before


def test_the_number_of_workers_and_the_backend_may_change(tmp_path):
    file = tmp_path / "result.json"
    with pytest.raises(StopError):
        run(file, [settings()], stop_after=2)
    journal = Journal.begin(file, [settings(workers=3, backend="ray")], resume=True)
    assert len(journal.known) == 2
    journal.close()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seed": 8}, r"conditions\[0\].seed: .*had 7, this one has 8"),
        ({"policy": "zero"}, r"conditions\[0\].policy: .*'expert'.*'zero'"),
        ({"episodes": 5}, "episodes: .*had 4, this one has 5"),
        ({"env_ids": ("VlaRos/Push-v0",)}, r"env\[0\]: .*Lift.*Push"),
        ({"timing": Timing(100.0)}, r"conditions\[0\].delay_ms: .*0.0, this one has 100.0"),
    ],
)
def test_a_journal_of_other_settings_is_refused(tmp_path, changes, field):
    file = tmp_path / "result.json"
    with pytest.raises(StopError):
        run(file, [settings()], stop_after=1)
    before = journal_path(file).read_text()
    with pytest.raises(JournalError, match=field):
        Journal.begin(file, [settings(**changes)], resume=True)
    assert journal_path(file).read_text() == before


def test_another_checkpoint_under_the_same_name_is_refused(tmp_path):
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    file = tmp_path / "result.json"
    journal = Journal.begin(file, [settings(policy=str(folder))], resume=False)
    done = run_episode(TabletopEnv("Lift", cameras=()), load_named("zero"), seed=7)
    journal.add((0, done.env_id, done.seed), done)
    journal.close()
    (folder / "config.json").write_text('{"trained": "further"}')
    with pytest.raises(JournalError, match="checkpoint: "):
        Journal.begin(file, [settings(policy=str(folder))], resume=True)


@pytest.mark.parametrize("text", ["", "hello\n", "[1]\n"])
def test_what_is_no_journal_is_refused(tmp_path, text):
    file = tmp_path / "result.json"
    journal_path(file).write_text(text)
    with pytest.raises(JournalError):
        Journal.begin(file, [settings()], resume=True)


def test_a_damaged_line_is_named(tmp_path):
    file = tmp_path / "result.json"
    run(file, [settings()])
    lines = journal_path(file).read_text().splitlines(keepends=True)
    lines[2] = json.dumps({"condition": 0}) + "\n"
    journal_path(file).write_text("".join(lines))
    with pytest.raises(JournalError, match="line 3 is not an episode"):
        Journal.begin(file, [settings()], resume=True)
