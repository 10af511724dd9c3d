"""Several processes take the steps of one, write once, and end together."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import shared_runs
import torch
from killed_runs import same
from torch.utils._pytree import tree_flatten

from ppl_gen._processes import World
from ppl_gen.data.batches import as_batches
from ppl_gen.data.image_set import ImageSet

PROGRAM = Path(shared_runs.__file__)
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    out = tmp_path_factory.mktemp("shared")
    process = start(*TORCHRUN, PROGRAM, out)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return out, torch.load(out / "results.pt", weights_only=True)


@pytest.mark.parametrize("name", shared_runs.EXACT)
def test_two_processes_take_the_steps_of_one_with_the_doubled_batch(name, shared):
    expected, found = shared_runs.train(name, 16), shared[1][name]
    (leaves, structure), (others, other) = tree_flatten(found), tree_flatten(expected)
    assert structure == other
    for one, two in zip(leaves, others, strict=True):
        if isinstance(two, str):  # the name of a constraint
            assert one == two
        else:
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12, equal_nan=True)
    assert len(found["history"]) >= 2


def test_only_process_0_writes(shared):
    out, _ = shared
    names = {str(path.relative_to(out)) for path in out.rglob("*")}
    assert names == {"0", "1", "results.pt", "run.pt", "run.pt.best"}


def test_a_shared_run_resumes_bit_for_bit(shared):
    assert same(shared[1]["resumed"], shared[1]["whole"])


def test_every_process_has_noise_of_its_own(shared):
    (first, _), (second, _) = shared[1]["interrupted"]["generators"]
    assert not any(same(first[name], second[name]) for name in ("torch", "random", "numpy"))
    grey = torch.full((8, 1, 4, 4), 0.5)
    data = ImageSet(grey.round(), binarization="dynamic", intensities=grey)
    drawn = [next(as_batches(data, 4, 0, world=World(rank, 2)).epoch(0)) for rank in (0, 1)]
    assert not torch.equal(drawn[0][0], drawn[1][0])


def test_an_interruption_of_one_process_stops_all_after_the_same_step(shared):
    assert shared[1]["interrupted"]["position"] == [1, 1]
    assert shared[1]["interrupted"]["history"]["steps"] == 4


@pytest.mark.parametrize(
    ("position", "match"),
    [
        (0, r"plate over the batch, unscaled, .*got 'mean': train this pair in one process"),
        (1, r"plate over the batch, unscaled, .*got 'x'"),
        (2, "data for a batch of every process, got fewer rows"),
    ],
)
def test_what_cannot_be_shared_is_refused(position, match, shared):
    assert re.search(match, shared[1]["refusals"][position])


def test_a_killed_worker_ends_the_run_under_torchrun(tmp_path):
    process = start(*TORCHRUN, PROGRAM, tmp_path, "--kill", 1)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "Signal 9 (SIGKILL) received" in output


def test_a_killed_worker_ends_the_others_without_a_launcher(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = [start(PROGRAM, tmp_path, "--kill", 1, RANK=str(r), **world) for r in (0, 1)]
    assert processes[1].wait(timeout=120) == -9
    began = time.monotonic()
    output, _ = processes[0].communicate(timeout=90)
    assert processes[0].returncode == 1, output
    assert time.monotonic() - began < 70
    assert "Connection" in output or "Timed out" in output
    processes[1].communicate()


def test_the_shares_of_a_batch_are_the_batch():
    data = torch.arange(23.0)
    together = [b.tolist() for (b,) in as_batches(data, 6, 0).epoch(2)]
    halves = [
        [b.tolist() for (b,) in as_batches(data, 3, 0, world=World(rank, 2)).epoch(2)]
        for rank in (0, 1)
    ]
    for whole, left, right in zip(together, *halves, strict=True):
        assert sorted(left + right) == sorted(whole)
    odd = [len(list(as_batches(data[:5], 2, 0, world=World(r, 2)).epoch(0))) for r in (0, 1)]
    assert odd == [1, 1]
