"""A long instruction as a sequence of the tasks' own, with checks: `step` has the interface."""
