"""Many episodes at once through Gymnasium's own vector environments."""

import gymnasium
import numpy as np
import pytest

import sim  # noqa: F401  registers the environments

SEEDS = (11, 12)
SMALL = {"cameras": ("front",), "image_size_px": 32}


def make(mode, **vector_kwargs):
    return gymnasium.make_vec(
        "VlaRos/Lift-v0", len(SEEDS), vectorization_mode=mode, vector_kwargs=vector_kwargs, **SMALL
    )


def play(envs, steps):
    """What each of the environments shows, step by step, beginning with the reset."""
    action = np.array([0.01, -0.01, 0.0, 0, 0, 0.05, 1.0], np.float32)
    seen = [envs.reset(seed=list(SEEDS))[0]]
    for _ in range(steps):
        seen.append(envs.step(np.tile(action, (len(SEEDS), 1)))[0])
    envs.close()
    return seen


def same(first, second):
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_a_vector_of_environments_is_each_of_them():
    seen = play(make("sync"), 3)
    for index, seed in enumerate(SEEDS):
        env = gymnasium.make("VlaRos/Lift-v0", **SMALL)
        values, _ = env.reset(seed=seed)
        for name, value in values.items():
            np.testing.assert_array_equal(seen[0][name][index], value)
        env.close()


@pytest.mark.slow
@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_over_processes_all_is_the_same(context):
    envs = make("async", context=context, shared_memory=False)
    same(play(envs, 3), play(make("sync"), 3))


def test_shared_memory_is_refused():
    """With it Gymnasium 1.4 would show the instruction "aaaa..." in every episode."""
    with pytest.raises(ValueError, match="shared_memory=False"):
        make("async", context="spawn")


@pytest.mark.slow
def test_the_next_episode_begins_by_itself_one_step_after_the_end():
    envs = make("async", context="spawn", shared_memory=False)
    assert envs.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.NEXT_STEP
    first, _ = envs.reset(seed=list(SEEDS))
    still = np.tile(np.array([0, 0, 0, 0, 0, 0, 1.0], np.float32), (len(SEEDS), 1))
    limit = envs.spec.max_episode_steps
    for _ in range(limit):
        last, _, terminated, truncated, _ = envs.step(still)
    assert truncated.all() and not terminated.any()
    assert tuple(last["instruction"]) == tuple(first["instruction"])
    # This step is a reset: its action counts for nothing, its reward is 0.
    begun, reward, terminated, truncated, _ = envs.step(still)
    assert not (terminated | truncated).any() and not reward.any()
    assert not np.array_equal(begun["front"], last["front"])
    envs.close()
