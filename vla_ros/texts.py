"""What an error says of things that anybody may have sent: no more of them than a person reads."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 8  # of a list
LONGEST = 60  # characters of a text
PACKAGES = ("policies", "sim", "world_models", "vla_ros")


def said(error: Exception) -> str:
    """An error's text. This package's own say what is wrong by themselves; of others the kind of
    error is told, too ("KeyError: 'x'")."""
    kind, text = type(error), str(error)
    own = kind.__module__.split(".")[0] in PACKAGES
    return text if own and text else f"{kind.__name__}: {text}"


def shortened(value: object) -> str:
    """`repr` of a text's beginning; of a list the first few, and how many there are."""
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST else value[:LONGEST] + "...")
    if not isinstance(value, Sequence):
        return repr(value)
    shown = ", ".join(shortened(each) for each in value[:SHOWN])
    if len(value) <= SHOWN:
        return f"[{shown}]"
    return f"[{shown}, ...] ({len(value)} in all)"
