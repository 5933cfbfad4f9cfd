"""Data-parallel training over processes: each takes a share of every batch.

On a CPU two processes with one thread each train faster than one with two (most time goes into
small operations that threads split badly), and a busy core delays a step once instead of at every
operation. Gradients are averaged with gloo (CPU) or nccl (CUDA). The processes are started here,
or by `accelerate launch` or `torchrun`, whose environment variables say who is who.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable

import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing
from torch import nn


def rank() -> int:
    """This process's number; 0 saves and reports."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def was_launched() -> bool:
    """Whether `accelerate launch` or `torchrun` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def own_device(name: str) -> torch.device:
    """The device of this process: of several, each takes a GPU of its own if `name` is "cuda"."""
    device = torch.device(name)
    if device.type == "cuda" and device.index is None and world_size() > 1:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", rank())))
    return device


def steps_of_all(step: int) -> list[int]:
    """The step that each process is about to do, given this one's."""
    if world_size() == 1:
        return [step]
    steps = [torch.zeros(1, dtype=torch.int64) for _ in range(world_size())]
    distributed.all_gather(steps, torch.tensor([step]))
    return [int(each) for each in steps]


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes, in one message.

    The processes must have used the same parameters in this step.
    """
    if world_size() == 1:
        return
    gradients = [value.grad for value in parameters if value.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= world_size()
    for gradient, mean in zip(
        gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
    ):
        gradient.copy_(mean.view_as(gradient))


def run_in_processes(count: int, work: Callable[..., None], *arguments: object) -> None:
    """Call `work(*arguments)` in `count` processes that know of each other; 1: in this one.

    `work` and its arguments must be picklable between processes of this machine. In a process that
    a launcher started, `count` must be 1: the launcher has said how many there are.
    """
    if count < 1:
        raise ValueError(f"processes: expected 1 or more, got {count}")
    if was_launched():
        if count > 1:
            raise ValueError(
                f"processes: the launcher started {os.environ['WORLD_SIZE']} already; "
                f"expected 1 (or leave it out), got {count}"
            )
        _join("env://", int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        try:
            work(*arguments)
        finally:
            distributed.destroy_process_group()
        return
    if count == 1:
        work(*arguments)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    threads = max(1, (os.cpu_count() or 1) // count)
    multiprocessing.spawn(_begin, (count, port, threads, work, arguments), nprocs=count)


def _begin(index: int, count: int, port: int, threads: int, work, arguments) -> None:
    _end_with_parent()
    torch.set_num_threads(threads)
    _join(f"tcp://127.0.0.1:{port}", index, count)
    try:
        work(*arguments)
    finally:
        distributed.destroy_process_group()


def _join(address: str, index: int, count: int) -> None:
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, init_method=address, rank=index, world_size=count)


def _end_with_parent() -> None:
    """End this process when its parent is gone, even by `kill -9`: nobody would collect it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
