import numpy as np
import pytest

from sim.env import TabletopEnv
from sim.tasks import TASKS
from vla_ros.task_planning.grammar import GrammarPlanner
from vla_ros.task_planning.phrases import match
from vla_ros.task_planning.simulated import scene_names
from vla_ros.task_planning.step import TaskPlanningError

SCENE = ("red cube", "blue ball", "blue bowl", "green bowl", "red drawer")


def plan(text, scene=SCENE):
    return [step.instruction for step in GrammarPlanner().plan(text, scene)]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (
            "clear the table, then close the drawer",
            [
                "put the red cube into the blue bowl",
                "put the blue ball into the blue bowl",
                "close the red drawer",
            ],
        ),
        (
            "open the red drawer and put the cube into it, then close it",
            [
                "open the red drawer",
                "put the red cube into the red drawer",
                "close the red drawer",
            ],
        ),
        (
            "pick up the red cube and put it in the blue bowl",  # one of the task's own phrases
            ["pick up the red cube and put it in the blue bowl"],
        ),
        (
            "Please put the red block in the blue dish. Then push the ball to the left!",
            ["put the red cube into the blue bowl", "push the blue ball to the left"],
        ),
        (
            "put all cubes into the green bowl and close every drawer",
            ["put the red cube into the green bowl", "close the red drawer"],
        ),
        (
            "put everything into the drawer; shut it",
            [
                "put the red cube into the red drawer",
                "put the blue ball into the red drawer",
                "close the red drawer",
            ],
        ),
        ("lift the ball", ["lift the blue ball"]),
        ("put the ball behind the cube", ["put the blue ball behind the red cube"]),
    ],
)
def test_long_instructions_become_the_tasks_own(text, steps):
    assert plan(text) == steps


def test_a_table_without_bowls_is_cleared_into_a_drawer_which_is_opened_first():
    assert plan("clear the table", ("red cube", "blue drawer")) == [
        "open the blue drawer",
        "put the red cube into the blue drawer",
    ]


def test_an_item_goes_into_the_bowl_of_its_color_else_into_the_emptiest():
    scene = ("green cube", "blue cube", "purple ball", "red bowl", "green bowl")
    assert plan("tidy up the table", scene) == [
        "put the green cube into the green bowl",
        "put the blue cube into the red bowl",
        "put the purple ball into the red bowl",
    ]


def test_without_a_scene_full_names_are_taken_as_they_are():
    assert plan("open the red drawer then press the blue button", ()) == [
        "open the red drawer",
        "press the blue button",
    ]


def test_a_step_says_which_task_it_is_and_what_it_is_about():
    (step,) = GrammarPlanner().plan("put the ball to the right of the cube", SCENE)
    assert step.described() == {
        "instruction": "put the blue ball to the right of the red cube",
        "task": "PlaceRelative",
        "target": "blue ball",
        "destination": "red cube",
        "direction": "right",
    }


@pytest.mark.parametrize(
    ("text", "scene", "message"),
    [
        ("juggle the balls", SCENE, "cannot read 'juggle the balls'; expected parts like"),
        ("open the red drawer then dance", SCENE, "cannot read 'dance'"),
        ("put the cube into the bowl", SCENE, "which bowl. There are blue bowl, green bowl"),
        ("open the green drawer", SCENE, "no green drawer in the scene; it is red cube"),
        ("close the drawer", (), "no drawer in the scene; it is not described"),
        ("clear the table", (), "needs to know what there is"),
        ("clear the table", ("red cube",), "needs a bowl or a drawer to put things into"),
        ("  ", SCENE, "expected words, got nothing"),
        ("lift the ball", ("red sofa",), "expected names like 'red cube' of .* got 'red sofa'"),
        ("put the drawer into the bowl", SCENE, "cannot read"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(text, scene, message):
    with pytest.raises(TaskPlanningError, match=message):
        plan(text, scene)


READABLE = [name for name in TASKS if name not in ("Count", "TwoStage")]


@pytest.mark.parametrize("name", READABLE)
def test_every_phrase_of_every_task_is_read_as_that_task(name):
    task = TASKS[name]()
    rng = np.random.default_rng(0)
    episode = task.sample(rng)
    said = {task.instruct(rng, episode) for _ in range(60)}
    for text in said:
        found = match(text)
        assert found is not None and found.form.task == name, text
        (step,) = GrammarPlanner().plan(text, episode.scene.names)
        if name != "Sort":
            assert step.target == episode.target
        if name == "Push":
            assert step.direction == episode.direction


def test_what_two_stages_say_is_two_steps():
    env = TabletopEnv("TwoStage", cameras=())
    for seed in range(8):
        env.reset(seed=seed)
        _, episode = env.running()
        steps = GrammarPlanner().plan(episode.instruction, scene_names(env))
        assert [(step.task, step.target) for step in steps] == [
            (stage.task, stage.target) for stage in episode.stages
        ]
