"""Swept means: most of the named crumbs lie on the mat before them."""

import numpy as np
import pytest

from sim.tasks.sweep import CRUMBS


def lay(env, put, heap, mat, count):
    """Put `count` of a heap's crumbs onto a mat, in rows."""
    rows = [(0.02 * (i // 4) - 0.01, 0.025 * (i % 4) - 0.04) for i in range(count)]
    places = [[*(np.array(mat.position) + row), 0.007] for row in rows]
    put(env, dict(zip(heap.grain_names, places, strict=False)))


@pytest.mark.parametrize(("count", "done"), [(CRUMBS, True), (6, True), (5, False)])
def test_three_of_four_crumbs_are_enough(begin, put, count, done):
    env = begin("Sweep")
    scene = env.running()[1].scene
    lay(env, put, scene.grains[0], scene.furniture[0], count)
    assert env.succeeded() == done


def test_the_other_heap_and_the_other_mat_do_not_count(begin, put):
    env = begin("Sweep")
    scene = env.running()[1].scene
    lay(env, put, scene.grains[1], scene.furniture[1], CRUMBS)
    assert not env.succeeded()
    lay(env, put, scene.grains[0], scene.furniture[1], CRUMBS)
    assert not env.succeeded()


def test_the_instruction_names_the_mat_before_the_crumbs(begin):
    env = begin("Sweep")
    scene = env.running()[1].scene
    for heap, mat in zip(scene.grains, scene.furniture, strict=True):
        values, _ = env.reset(seed=0, options={"target": heap.name})
        assert f"{heap.name} onto the {mat.name}" in values["instruction"]
