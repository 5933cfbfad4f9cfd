"""Domain randomization: ranges as data (`axes`, `domain`), the numbers of an episode (`draw`), and
what they do to the compiled model (`edits`), to time (`world`), to what is sensed (`sensors`) and
to what is said (`wording`)."""

from sim.randomization.axes import AXES
from sim.randomization.domain import (
    FILE_SUFFIXES,
    NOMINAL,
    PRESETS,
    Domain,
    DomainError,
    load_domain,
)

__all__ = ["AXES", "FILE_SUFFIXES", "NOMINAL", "PRESETS", "Domain", "DomainError", "load_domain"]
