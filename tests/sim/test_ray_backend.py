"""Evaluation over Ray: the same result as over processes, on every node of a cluster."""

import os
import sys

import pytest

from sim.evaluation import Evaluation, evaluate

LIFT = ("VlaRos/Lift-v0",)


def test_without_ray_the_error_names_the_extra(monkeypatch):
    from sim.evaluation.ray_backend import ray_map
    from sim.parallel import WorkerError

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkerError, match=r"ray is not installed; pip install -e '\.\[ray\]'"):
        next(ray_map(str, [1], 1))


@pytest.fixture(scope="module")
def cluster():
    """Two nodes on this machine, with a CPU each."""
    pytest.importorskip("ray", reason="needs the optional extra `ray`")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    memory = 128 * 1024**2  # [bytes] of shared memory, or each node takes a share of the machine
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": memory}
    )
    cluster.add_node(num_cpus=1, object_store_memory=memory)
    ray.init(address=cluster.address, log_to_driver=False)
    # The workers cannot import a test's module.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def node_and_job(job):
    import time

    import ray

    time.sleep(0.05)  # so that neither worker takes all jobs
    return ray.get_runtime_context().get_node_id(), job


@pytest.mark.slow
def test_both_nodes_work_and_the_results_are_in_order(cluster):
    from sim.evaluation.ray_backend import ray_map

    done = list(ray_map(node_and_job, range(20), workers=2))
    assert [job for _, job in done] == list(range(20))
    assert len({node for node, _ in done}) == 2


def fail(job):
    raise ValueError(f"job {job} cannot be done")


@pytest.mark.slow
def test_a_jobs_error_arrives_as_it_was_raised(cluster):
    from sim.evaluation.ray_backend import ray_map

    with pytest.raises(ValueError, match="job 3 cannot be done"):
        list(ray_map(fail, [3], workers=1))


@pytest.mark.slow
def test_more_workers_than_cpus_are_refused(cluster):
    from sim.evaluation.ray_backend import ray_map
    from sim.parallel import WorkerError

    with pytest.raises(WorkerError, match="the Ray cluster has 2 CPUs, got 3"):
        next(ray_map(fail, [1], workers=3))


@pytest.mark.slow
def test_the_backend_changes_nothing(cluster):
    here = evaluate(Evaluation("expert", LIFT, episodes=4, seed=7))
    there = evaluate(Evaluation("expert", LIFT, episodes=4, seed=7, workers=2, backend="ray"))
    for summary in (here, there):
        del summary["policy_latency_ms"]
    assert here == there
