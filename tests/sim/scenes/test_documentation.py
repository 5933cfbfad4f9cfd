"""docs/scenes.md shows the fields that are read, with their defaults and bounds."""

from pathlib import Path

import pytest

from sim.scenes.fields import KINDS, REQUIRED, TABLES
from sim.scenes.values import READERS

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "scenes.md"
WORDS = {
    "number": "number",
    "count": "whole number",
    "range": "number or [low, high]",
    "pair": "2 numbers",
    "vector": "3 numbers",
    "rgb": "3 numbers",
    "word": "one of",
    "words": "one or several of",
    "text": "text",
    "texts": "text or a list",
    "name": "small letters",
    "object": "an object's name",
    "material": "a material's name",
    "flag": "true or false",
    "list": "list",
    "mapping": "fields",
}


def value(field):
    words = WORDS[field.type]
    if field.choices:
        words += f" {', '.join(field.choices)}"
    if field.high > field.low:
        words += f", {field.low:g} to {field.high:g}"
    if field.kinds != KINDS:
        words += f" (only {', '.join(field.kinds)})"
    return words


def default(field):
    if field.default == REQUIRED:
        return "required"
    if field.otherwise:
        return field.otherwise
    if field.default in (None, {}, ""):
        return ""
    return f"`{str(field.default).lower()}`"


def rows(prefix):
    return [
        f"| `{prefix}{name}` | {value(field)} | {default(field)} | {field.about} |"
        for name, field in TABLES[prefix].items()
    ]


def test_every_type_has_words_and_a_reader():
    assert set(WORDS) == set(READERS)


@pytest.mark.parametrize("prefix", TABLES)
def test_every_field_has_its_row(prefix):
    lines = PAGE.read_text().splitlines()
    missing = [row for row in rows(prefix) if row not in lines]
    assert not missing, "\n".join(missing)


def test_no_row_is_of_a_field_that_is_gone():
    shown = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    known = {row for prefix in TABLES for row in rows(prefix)}
    files = {line for line in shown if ".yaml` |" in line}  # of the examples
    assert set(shown) - known == files


def test_every_example_is_named():
    text = PAGE.read_text()
    for file in (ROOT / "config" / "scenes").glob("*"):
        assert f"config/scenes/{file.name}" in text


@pytest.mark.parametrize("name", ["left_of_bowl", "workbench"])
def test_the_page_shows_an_example_as_it_is(name):
    example = (ROOT / "config" / "scenes" / f"{name}.yaml").read_text()
    assert f"```yaml\n{example}```" in PAGE.read_text()
