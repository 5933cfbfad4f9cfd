"""The report's page: what it says, and that it stands alone."""

import re
from html.parser import HTMLParser

import pytest

from sim.evaluation import Evaluation, Timing, evaluate_all
from sim.evaluation.episode import EpisodeResult
from sim.evaluation.intervals import wilson_interval
from sim.evaluation.report import FAILURES_KEPT, Report, ReportError
from sim.evaluation.summary import OUTCOMES, outcome, summarize, summarize_conditions

LIFT = "VlaRos/Lift-v0"


def episode(**changes):
    values = {
        "env_id": LIFT,
        "seed": 1,
        "instruction": "pick up the red cube",
        "target": "red cube",
        "success": False,
        "steps": 60,
        "first_touched": "red cube",
        "lifted": False,
        "held_at_end": False,
        "idle_share": 0.0,
        "jerk_rad_s3": 0.0,
        "latencies_ms": (1.0,),
    }
    values |= changes
    fits = values["first_touched"] == values["target"]
    return EpisodeResult(**({"first_touch_fits": fits} | values))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"success": True, "first_touched": "blue ball"}, "success"),
        ({"first_touched": None}, "touched nothing"),
        ({"first_touched": "blue ball"}, "touched another item first"),
        ({}, "touched it, did not finish"),
        ({"lifted": True, "first_touched": "blue ball"}, "lifted it, then lost it"),
        ({"lifted": True, "held_at_end": True}, "holding it when time was over"),
    ],
)
def test_how_an_episode_ended_follows_from_what_was_recorded(changes, expected):
    assert outcome(episode(**changes)) == expected
    summary = summarize([episode(**changes)])
    assert summary["outcomes"] == {name: int(name == expected) for name in OUTCOMES}
    assert summary["rows"][0]["outcome"] == expected


def test_conditions_share_their_scenes_in_the_rate_over_them():
    """The same failure in three worlds is one."""
    variants = ("standard", "lighting", "textures")
    evaluations = [Evaluation("expert", (LIFT,), episodes=5, variant=name) for name in variants]
    results = [[episode(seed=seed, success=seed != 3) for seed in range(5)] for _ in variants]
    summary = summarize_conditions(evaluations, results)
    assert (summary["episodes"], summary["scenes"], summary["success_rate"]) == (15, 5, 0.8)
    assert summary["effective_episodes"] == 5
    interval = (summary["scene_wilson_low"], summary["scene_wilson_high"])
    assert interval == pytest.approx(wilson_interval(4, 5))
    assert not {"wilson_low", "wilson_high", "rows"} & set(summary)
    for part in summary["by_condition"]:
        assert (part["wilson_low"], part["wilson_high"]) == wilson_interval(4, 5)


class Links(HTMLParser):
    """Every address on a page, and the tags that are open."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("src", "href", "poster")]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of a policy that does nothing, at two delays, and of one that succeeds."""
    folder = tmp_path_factory.mktemp("report")
    evaluations = [
        Evaluation("expert-chunk", (LIFT,), episodes=2, seed=1000, timing=timing)
        for timing in (Timing(), Timing(400.0, late_chunks="naive", asynchronous=True))
    ]
    report = Report.begin(folder, evaluations)
    summary = evaluate_all(evaluations, report.add, film=True)
    summary["made_with"] = {"command": "vla-ros evaluate --policy '<b>'", "machine": "a machine"}
    return folder, summary, report.write(summary)


def test_everything_it_shows_lies_in_its_folder(page):
    folder, _, file = page
    text = file.read_text()
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<script", text)
    links = Links()
    links.feed(text)
    assert len(links.found) >= 4
    for link in links.found:
        assert (folder / link).is_file(), link
    written = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
    assert written == {"index.html", *links.found}


def test_it_says_what_was_measured(page):
    _, summary, file = page
    text = file.read_text()
    for condition in summary["by_condition"]:
        assert f"{condition['success_rate']:.1%}" in text
    assert "standard, 400 ms naive" in text and "seeds 1000 to 1001" in text
    assert "vla-ros evaluate --policy &#x27;&lt;b&gt;&#x27;" in text and "a machine" in text
    assert "Success against delay" in text


def test_only_the_first_failures_are_kept(tmp_path):
    import numpy as np

    from sim.evaluation.work import Done

    evaluation = Evaluation("zero", (LIFT,))
    report = Report.begin(tmp_path / "new", [evaluation])
    frame = np.zeros((8, 8, 3), np.uint8)
    for seed in range(FAILURES_KEPT + 3):
        report.add(Done(0, episode(seed=seed), b"an mp4", frame))
    kept = sorted(path.name for path in (tmp_path / "new" / "videos").glob("*.mp4"))
    assert kept == sorted(f"0_Lift-v0_{seed}.mp4" for seed in range(FAILURES_KEPT))
    # An interrupted run's videos are found again.
    again = Report.begin(tmp_path / "new", [evaluation], keep=True)
    again.add(Done(0, episode(seed=0)))
    again.add(Done(0, episode(seed=99)))
    assert [film.result.seed for film in again._films] == [0]


def test_the_folder_comes_with_the_first_episode(tmp_path):
    (tmp_path / "mine").mkdir()
    for folder in ("mine", "a/b"):
        Report.begin(tmp_path / folder, [Evaluation("zero", (LIFT,))])
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ReportError, match="is not empty; choose another or remove it"):
        Report.begin(tmp_path, [Evaluation("zero", (LIFT,))])
    with pytest.raises(ReportError, match="cannot write"):
        Report.begin(tmp_path / "thesis.tex" / "x", [Evaluation("zero", (LIFT,))])
