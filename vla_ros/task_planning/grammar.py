"""The offline planner: connectives, "all" and pronouns around the tasks' own phrases."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vla_ros.task_planning.phrases import (
    CARRIED,
    FORMS,
    KINDS,
    NAME,
    Match,
    fits,
    kind_of,
    match,
    plain,
)
from vla_ros.task_planning.step import Step, TaskPlanningError

THEN = re.compile(
    r"\s*(?:,?\s*(?:and\s+)?(?:then|after that|afterwards|finally)\b,?|;|\.(?=\s))\s*",
    re.IGNORECASE,
)
AND = re.compile(r"\s*,\s*(?:and\s+)?|\s+and\s+", re.IGNORECASE)
CLEAR = re.compile(
    r"(?:clear|clean up|tidy|tidy up|clean) (?:up )?(?:the |everything off the )?table"
)
EVERYTHING = r"(?:everything|all(?: of)?(?: the)? (?P<kind>{kinds})s?|every (?P<one>{kinds}))"
EVERYTHING = EVERYTHING.format(kinds="|".join((*CARRIED, "item", "thing", "object")))
PUT_ALL = re.compile(
    rf"(?:put|place|drop|move|store) {EVERYTHING} (?:in|to) (?:the )?(?P<into>{NAME})"
)
EACH = re.compile(
    r"(?P<verb>open|close|press) (?:all(?: of)?(?: the)?|every|both(?: the)?) "
    r"(?P<kind>drawer|button)s?"
)
MOST_CHARACTERS = 2000
CONTAINERS = ("bowl", "drawer")
MOVED = (*CARRIED, "cup")


class GrammarPlanner:
    """Needs no model: what it cannot read it refuses, saying what it can."""

    def plan(self, instruction: str, scene: Sequence[str]) -> tuple[Step, ...]:
        """See `TaskPlanner`. A thing named without its color must be the only one of its kind."""
        known = tuple(name.lower().strip() for name in scene)
        for name in known:
            if not re.fullmatch(NAME, name):
                raise TaskPlanningError(
                    f"scene: expected names like 'red cube' of {', '.join(KINDS)}, got {name!r}"
                )
        instruction = " ".join(instruction.split())  # long gaps would keep `THEN` busy for minutes
        if not instruction:
            raise TaskPlanningError("instruction: expected words, got nothing")
        if len(instruction) > MOST_CHARACTERS:
            raise TaskPlanningError(
                f"instruction: expected at most {MOST_CHARACTERS} characters, "
                f"got {len(instruction)}"
            )
        steps: list[Step] = []
        for part in THEN.split(instruction):
            if part.strip(" ,.!?"):
                steps += self._part(part, known, steps)
        return tuple(steps)

    def _part(self, text: str, scene: tuple[str, ...], before: list[Step]) -> list[Step]:
        """One part as it stands; else what "and" joins, one after the other."""
        found = self._one(text, scene, before)
        if found is not None:
            return found
        for joint in AND.finditer(text):
            first = self._one(text[: joint.start()], scene, before)
            if first is not None:
                return first + self._part(text[joint.end() :], scene, [*before, *first])
        tasks = "; ".join(dict.fromkeys(repr(form.phrases[0]) for form in FORMS))
        raise TaskPlanningError(
            f"instruction: cannot read {text.strip()!r}; expected parts like {tasks}; 'clear the "
            "table', 'put all cubes into the red bowl', 'open all drawers', joined by 'then'"
        )

    def _one(self, text: str, scene: tuple[str, ...], before: list[Step]) -> list[Step] | None:
        said = _without_pronouns(plain(text), before)
        if CLEAR.fullmatch(said):
            return self._cleared(_all(CARRIED, scene, text), scene)
        everything = PUT_ALL.fullmatch(said)
        if everything:
            kind = everything["kind"] or everything["one"]
            kinds = (kind,) if kind in CARRIED else CARRIED
            into = _resolved(everything["into"], scene, text)
            names = _all(kinds, scene, text)
            return [self._step(f"put the {name} into the {into}", scene) for name in names]
        each = EACH.fullmatch(said)
        if each:
            names = _all((each["kind"],), scene, text)
            return [self._step(f"{each['verb']} the {name}", scene) for name in names]
        understood = match(said)
        return None if understood is None else [_step_of(understood, scene, text)]

    def _cleared(self, items: list[str], scene: tuple[str, ...]) -> list[Step]:
        """Every item into its color's bowl, else the emptiest; without bowls an opened drawer."""
        bowls, drawers = ([name for name in scene if kind_of(name) == kind] for kind in CONTAINERS)
        if not bowls and not drawers:
            raise TaskPlanningError(
                "instruction: 'clear the table' needs a bowl or a drawer to put things into; "
                f"the scene has {', '.join(scene)}"
            )
        steps = [] if bowls else [self._step(f"open the {drawers[0]}", scene)]
        held = dict.fromkeys(bowls or drawers[:1], 0)  # items in each
        for name in items:
            own = f"{name.split()[0]} bowl"
            into = own if own in held else min(held, key=held.__getitem__)
            held[into] += 1
            steps.append(self._step(f"put the {name} into the {into}", scene))
        return steps

    def _step(self, text: str, scene: tuple[str, ...]) -> Step:
        understood = match(text)
        if understood is None:
            raise TaskPlanningError(f"instruction: no task is called {text!r}")
        return _step_of(understood, scene, text)


def _step_of(found: Match, scene: tuple[str, ...], text: str) -> Step:
    """In the phrase's own words, every thing by its full name."""
    form = found.form
    target, destination = (
        None if name is None else _resolved(name, scene, text)
        for name in (found.target, found.destination)
    )
    words, direction = "", None
    if found.words is not None:
        words, direction = next(pair for pair in form.directions if plain(pair[0]) == found.words)
    instruction = found.phrase.format(
        target=target, destination=destination, direction=words, relation=words
    )
    return Step(instruction, form.task, target, destination, direction)


def _resolved(name: str, scene: tuple[str, ...], text: str) -> str:
    """The full name of what is meant. Raises `TaskPlanningError`."""
    if name in scene or (not scene and " " in name):
        return name
    choices = [each for each in scene if kind_of(each) == name]
    if len(choices) == 1:
        return choices[0]
    if choices:
        raise TaskPlanningError(
            f"instruction: {text.strip()!r}: which {name}? There are {', '.join(choices)}"
        )
    have = ", ".join(scene) if scene else "not described: name things with their color, or give it"
    raise TaskPlanningError(f"instruction: {text.strip()!r}: no {name} in the scene; it is {have}")


def _all(kinds: tuple[str, ...], scene: tuple[str, ...], text: str) -> list[str]:
    found = [name for name in scene if fits(name, kinds)]
    if not found:
        raise TaskPlanningError(
            f"instruction: {text.strip()!r} needs to know what there is: expected a scene with "
            f"some of {', '.join(kinds)}, got {', '.join(scene) or 'none'}"
        )
    return found


def _without_pronouns(text: str, before: list[Step]) -> str:
    """ "it" behind "in" is the last container, behind "open" and "close" the last drawer,
    elsewhere the last thing that was moved.
    """
    named = [
        name for step in before for name in (step.target, step.destination) if name is not None
    ]

    def last(kinds: tuple[str, ...]) -> str | None:
        return next((name for name in reversed(named) if kind_of(name) in kinds), None)

    first = re.match(r"(\w+(?: down| up)?) it\b", text)
    if first:
        thing = last(("drawer",) if first[1] in ("open", "close") else MOVED)
        if thing:
            text = f"{first[1]} the {thing}{text[first.end() :]}"
    container = last(CONTAINERS)
    return re.sub(r"\bin it\b", f"in the {container}", text) if container else text
