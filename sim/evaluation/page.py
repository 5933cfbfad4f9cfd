"""The report's page: plain HTML and CSS, nothing from elsewhere and no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from sim.env import CONTROL_RATE_HZ
from sim.evaluation.episode import EpisodeResult
from sim.evaluation.summary import OUTCOMES, groups, outcome

COLORS = dict(
    zip(OUTCOMES, ("#1f8a5b", "#e0a526", "#d9822b", "#c9513a", "#93398f", "#6b7280"), strict=True)
)
CAPTIONS = {
    "delays": "Success against delay, with 95 % intervals",
    "steps": "How long the episodes took",
    "latency": "How long the policy thought, each call",
}
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --dim: #777; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin-top: 2.2rem }
.rates { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin: .6rem 0 }
.rate { font-size: 2.8rem; font-weight: 700; line-height: 1.2 } .dim { color: var(--dim) }
.note { border-left: 4px solid #d9822b; padding: .3rem .8rem; background: var(--soft) }
table { border-collapse: collapse; width: 100% }
td, th { padding: .3rem .5rem; text-align: left; border-bottom: 1px solid var(--line) }
td.name { white-space: nowrap }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.scale { position: relative; height: 1.1rem; min-width: 200px; background: var(--soft) }
.scale i, .scale b { position: absolute; top: 0; bottom: 0 }
.scale i { background: #1f8a5b55 } .scale b { width: 3px; margin-left: -1px; background: #1f8a5b }
.stack { display: flex; height: 1.3rem; min-width: 200px } .stack span { display: block }
.keys span { white-space: nowrap; margin-right: 1rem }
.key { display: inline-block; width: .8rem; height: .8rem; margin-right: .35rem }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 1rem }
figure { margin: 0 } figure img, video { width: 100%; border-radius: 6px; background: #fff }
video { aspect-ratio: 1; background: #000 } .plots { display: grid; gap: 1rem; margin-top: 2rem;
grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)) }
figcaption { font-size: .85rem } .tag { color: #fff; border-radius: 4px; padding: 0 .4rem }
pre { white-space: pre-wrap; background: var(--soft); padding: .8rem; overflow-wrap: anywhere }
"""


@dataclass(frozen=True)
class Film:
    """A kept video; paths are relative to the page."""

    video: str
    poster: str
    condition: int
    result: EpisodeResult


def render_page(
    summary: dict[str, Any],
    labels: Sequence[str],
    films: Sequence[Film],
    plots: Mapping[str, str],
) -> str:
    """The page's HTML. `labels` name the conditions, `plots` are relative paths by name."""
    failures = [film for film in films if not film.result.success]
    successes = [film for film in films if film.result.success]
    parts = [
        _headline(summary, labels),
        _success(summary),
        _outcomes(summary),
        f'<div class="plots">{"".join(_plot(*each) for each in plots.items())}</div>',
        _films("Where it fails", failures, labels, "Nothing failed."),
        _films("Where it succeeds", successes, labels, "Nothing succeeded."),
        _made_with(summary.get("made_with", {})),
    ]
    title = escape(f"{summary['policy']}: evaluation")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _headline(summary: dict[str, Any], labels: Sequence[str]) -> str:
    """The rate of every condition in large figures: pooling them would mean nothing."""
    parts = summary.get("by_condition", [summary])
    rates = "".join(
        f"<div><div class='rate'>{part['success_rate']:.1%}</div>{escape(label)}<br>"
        f"<span class='dim'>{100 * part['wilson_low']:.0f} to {100 * part['wilson_high']:.0f} % "
        f"(95 %), {part['episodes']} episodes</span></div>"
        for part, label in zip(parts, labels, strict=True)
    )
    last_seed = summary["seed"] + groups(summary)[0]["episodes"] - 1
    extras = [name for name in ("blackout", "swap_instruction", "asynchronous") if summary[name]]
    about = [f"success on seeds {summary['seed']} to {last_seed}", *extras]
    realtime = (
        '<p class="note">Real time: the world moved on while the policy computed. These figures '
        "depend on the machine named below and on what else it did.</p>"
        if summary["realtime"]
        else ""
    )
    return (
        f"<h1>{escape(summary['policy'])}</h1><div class='dim'>{escape('; '.join(about))}</div>"
        f"<div class='rates'>{rates}</div>{realtime}"
    )


def _success(summary: dict[str, Any]) -> str:
    rows = []
    for part in groups(summary):
        low, high, rate = (
            100 * part[name] for name in ("wilson_low", "wilson_high", "success_rate")
        )
        steps = part["mean_steps_of_successes"]
        taken = "" if steps is None else f"{steps / CONTROL_RATE_HZ:.1f} s"
        rows.append(
            f"<tr>{_names(part)}<td><div class='scale'>"
            f"<i style='left:{low:.1f}%;width:{high - low:.1f}%'></i>"
            f"<b style='left:{rate:.1f}%'></b></div></td>"
            f"<td class='number'>{rate:.1f} %</td><td class='number'>{low:.0f} to {high:.0f}</td>"
            f"<td class='number'>{part['episodes']}</td><td class='number'>{taken}</td>"
            f"<td class='number'>{part['policy_latency_ms']['p50']:.1f} / "
            f"{part['policy_latency_ms']['p99']:.1f}</td></tr>"
        )
    return (
        "<h2>Success</h2><table><tr><th>environment</th><th>world</th><th>0 to 100 %, with the "
        "95 % interval (Wilson)</th><th>rate</th><th>interval</th><th>episodes</th>"
        f"<th>time to success</th><th>latency p50 / p99 [ms]</th></tr>{''.join(rows)}</table>"
    )


def _outcomes(summary: dict[str, Any]) -> str:
    rows = []
    for part in groups(summary):
        shares = "".join(
            f"<span style='width:{100 * count / part['episodes']:.2f}%;background:{COLORS[name]}' "
            f"title='{escape(name)}: {count}'></span>"
            for name, count in part["outcomes"].items()
        )
        counts = ", ".join(f"{count} {name}" for name, count in part["outcomes"].items() if count)
        rows.append(
            f"<tr>{_names(part)}<td><div class='stack'>{shares}</div>"
            f"<div class='dim'>{escape(counts)}</div></td></tr>"
        )
    keys = "".join(
        f"<span><i class='key' style='background:{COLORS[name]}'></i>{escape(name)}</span> "
        for name in OUTCOMES
    )
    return (
        "<h2>How episodes end</h2><p class='dim'>By recorded facts: whether the named item was "
        "lifted between the fingers and held at the end; if it was not, which item the robot "
        f"touched first.</p><p class='keys'>{keys}</p><table>{''.join(rows)}</table>"
    )


def _names(part: dict[str, Any]) -> str:
    """Two cells: the environment, and world and timing."""
    world = [str(part["variant"])]
    if part["realtime"]:
        world.append("real time")
    if part["delay_ms"]:
        world.append(f"{part['delay_ms']:g} ms, {part['late_chunks']}")
    return f"<td class='name'>{escape(part['env'])}</td><td>{escape(', '.join(world))}</td>"


def _plot(name: str, path: str) -> str:
    caption = CAPTIONS[name]
    return (
        f"<figure><img src='{escape(path)}' alt='{escape(caption)}'>"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _films(title: str, films: Sequence[Film], labels: Sequence[str], otherwise: str) -> str:
    cards = []
    for film in films:
        result, kind = film.result, outcome(film.result)
        touched = result.first_touched or "nothing"
        where = f", {labels[film.condition]}" if len(labels) > 1 else ""
        cards.append(
            f"<figure><video src='{escape(film.video)}' poster='{escape(film.poster)}' controls "
            "muted loop playsinline preload='none'></video>"
            f"<figcaption><b>{escape(result.instruction)}</b><br>"
            f"<span class='tag' style='background:{COLORS[kind]}'>{escape(kind)}</span> "
            f"after {result.steps / CONTROL_RATE_HZ:.1f} s; touched first: {escape(touched)}<br>"
            f"<span class='dim'>{escape(result.env_id)}, seed {result.seed}{escape(where)}</span>"
            "</figcaption></figure>"
        )
    body = f"<div class='grid'>{''.join(cards)}</div>" if cards else f"<p>{escape(otherwise)}</p>"
    return f"<h2>{escape(title)}</h2>{body}"


def _made_with(about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in about.get("versions", {}).items())
    lines = [f"{about[name]}" for name in ("machine", "date") if name in about] + (
        [f"{about['duration_s']} s"] if "duration_s" in about else []
    )
    return (
        f"<h2>Made with</h2><pre>{escape(about.get('command', ''))}</pre>"
        f"<p class='dim'>{escape('; '.join(lines))}<br>{escape(versions)}</p>"
    )
