"""Plans carried out by experts in MuJoCo, judged by the tasks themselves."""

import numpy as np
import pytest

from sim.env import TabletopEnv
from sim.policies import ZeroPolicy
from vla_ros.task_planning.executive import ExecutiveSettings
from vla_ros.task_planning.grammar import GrammarPlanner
from vla_ros.task_planning.simulated import carry_out, expert_of, part_of, scene_names
from vla_ros.task_planning.step import Step, TaskPlanningError


@pytest.mark.parametrize("seed", [0, 5, 12])
def test_a_table_is_cleared_item_by_item(seed):
    """Into one bowl each: what comes later is put beside what lies there."""
    env = TabletopEnv("PickPlace", cameras=())
    env.reset(seed=seed)
    world, episode = env.running()
    task = env.task
    steps = GrammarPlanner().plan("clear the table", scene_names(env))
    assert len(steps) == sum(not item.is_bowl for item in episode.scene.items) >= 2
    said = []
    executive = carry_out(
        env, steps, expert_of(env), ExecutiveSettings(), lambda now: said.append(now.progress())
    )
    assert executive.status == "succeeded"
    assert [each["instruction"] for each in said if each["instruction"]] == [
        step.instruction for step in steps
    ]
    for step in steps:
        offset = world.item_position(step.target) - world.item_position(step.destination)
        assert np.linalg.norm(offset[:2]) < 0.062
    assert env.task is task and env.running()[1] is episode


def test_a_policy_that_does_nothing_fails_after_its_attempts_and_says_so():
    env = TabletopEnv("Push", cameras=())
    env.reset(seed=0)
    steps = GrammarPlanner().plan(env.running()[1].instruction, scene_names(env))
    settings = ExecutiveSettings(step_timeout_s=1.0, attempts=2)
    executive = carry_out(env, steps, ZeroPolicy(), settings)
    assert (executive.status, executive.attempt) == ("failed", 2)
    assert executive.reason.endswith("not done after 1 s")


def test_sorting_needs_something_to_sort():
    env = TabletopEnv("Push", cameras=())
    env.reset(seed=0)
    with pytest.raises(TaskPlanningError, match="no item has a bowl of its color"):
        part_of(env.running()[1], Step("sort by color", "Sort"))


def test_a_thing_that_is_not_there_is_named():
    env = TabletopEnv("Push", cameras=())
    env.reset(seed=0)
    with pytest.raises(TaskPlanningError, match="no pink drawer in the scene; it has "):
        part_of(env.running()[1], Step("open the pink drawer", "OpenDrawer", "pink drawer"))
