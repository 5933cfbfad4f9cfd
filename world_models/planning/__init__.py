"""Planners around a policy: they imagine what its actions lead to, and choose. `planner` is one."""
