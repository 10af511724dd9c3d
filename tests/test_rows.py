"""Trees and saved models answer on parts of large data, in processes that did not make them."""

import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

import graphs
import ppl_gen

IN_ANOTHER_PROCESS = """
import pickle, sys
answers = [question(rows) for question, rows in pickle.load(sys.stdin.buffer)]
pickle.dump(answers, sys.stdout.buffer)
"""


@pytest.fixture(scope="module")
def tree():
    return graphs.JunctionTree(graphs.textbook.asia(), evidence_variables=["smoke", "dysp"])


@pytest.fixture(scope="module")
def patients():
    rng = np.random.default_rng(0)
    states = np.array(["yes", "no", None], object)
    return pd.DataFrame({name: rng.choice(states, 200) for name in ("smoke", "dysp")})


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    """A model that was saved and loaded."""
    path = tmp_path_factory.mktemp("rows") / "vae.pt"
    torch.manual_seed(0)
    ppl_gen.save(ppl_gen.zoo.vae((3,), 2, hidden=8), path)
    return ppl_gen.load(path)


@pytest.fixture(scope="module")
def pixels():
    return pd.DataFrame(np.random.default_rng(1).random((200, 3)), columns=list("abc"))


def test_another_process_gives_the_same_answers(tree, patients, vae, pixels):
    questions = [(tree.marginals, patients), (partial(ppl_gen.embed, vae), pixels.to_numpy())]
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        input=pickle.dumps(questions),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    marginals, codes = pickle.loads(done.stdout)
    # To rounding: what runs compiled by now is not in a process that has just begun.
    for node, expected in tree.marginals(patients).items():
        torch.testing.assert_close(marginals[node], expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(codes, ppl_gen.embed(vae, pixels.to_numpy()), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_two_workers_of_dask_map_both_over_partitions(tree, patients, vae, pixels, tmp_path):
    pytest.importorskip("distributed", reason="no dask: pip install dask distributed pyarrow")
    import dask.dataframe as dd
    from distributed import Client, LocalCluster

    # Defined here, so that the workers get their code and not a name.
    def lung(rows):
        found = tree.marginals(rows)["lung"][:, 0].numpy()
        return pd.DataFrame({"lung": found}, rows.index)

    def codes(rows):
        return pd.DataFrame(ppl_gen.embed(vae, rows.to_numpy()), rows.index, ["z0", "z1"])

    numbers = {"z0": "float32", "z1": "float32"}
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        LocalCluster(**options, local_directory=str(tmp_path)) as cluster,
        Client(cluster) as client,
    ):
        for function, rows, meta in ((lung, patients, {"lung": float}), (codes, pixels, numbers)):
            parts = dd.from_pandas(rows, npartitions=4)
            found = parts.map_partitions(function, meta=meta).compute()
            pd.testing.assert_frame_equal(found, function(rows))
        assert len(client.scheduler_info()["workers"]) == 2
