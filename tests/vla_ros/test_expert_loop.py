"""The loop is good enough for the tasks: given the expert's targets, it does them over ROS."""

import pytest

pytestmark = pytest.mark.slow


def test_the_expert_does_every_task_over_ros(start_graph):
    scripts = {"sim_node": "expert_sim_node.py", "policy_node": "expert_policy_node.py"}
    with start_graph({}, scripts) as (processes, operator):
        operator.wait_until_ready()
        records = [
            operator.run_episode(task, seed)
            for task, seed in (("Lift", 100), ("PickPlace", 101), ("Push", 102), ("Lift", 103))
        ]
        assert not processes.ended()
    assert sum(record.success for record in records) >= 3, [r.summary() for r in records]
    for record in records:
        assert record.frames
        assert record.frames[0].image.shape == (224, 224, 3)
        assert len(record.latencies_ms) == record.steps > 0
