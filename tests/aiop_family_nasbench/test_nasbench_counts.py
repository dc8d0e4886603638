"""Every published count of parameters and FLOPs, and what the benchmarks call isomorphic."""

import json

import numpy as np
import pandas as pd
import pytest

from aiop_core.graph.cost import node_macs
from aiop_core.graph.fingerprints import fingerprints
from aiop_core.graph.model import NODE_COLUMNS, GraphSet
from aiop_core.graph.ops import Op

pytestmark = pytest.mark.data

TASKS = "class_scene class_object room_layout jigsaw segmentsemantic normal autoencoder".split()


@pytest.fixture(scope="module")
def nb201_table(shared_data):
    return pd.read_parquet(shared_data / "nas" / "nb201.parquet")


@pytest.fixture(scope="module")
def nb101_table(shared_data):
    table = pd.read_csv(shared_data / "nas" / "nb101_500.csv")
    texts = zip(table.adjacency, table.ops, strict=True)
    return table.assign(text=[json.dumps({"adjacency": json.loads(a), "ops": json.loads(o)}) for a, o in texts])


@pytest.fixture(scope="module")
def transnas_table(shared_data):
    return pd.read_parquet(shared_data / "nas" / "tnb101_micro.parquet")


def assert_counts(family, texts, millions, on_meta, *, modules=4):
    """Plans count what is published, for all; modules hold what plans count, for some."""
    architectures = [family.parse(text) for text in texts]
    counted = np.array([family.params(architecture) for architecture in architectures])
    assert len(counted)
    np.testing.assert_array_equal(counted, np.rint(np.asarray(millions) * 1e6))
    for i in np.linspace(0, len(counted) - 1, modules, dtype=int):
        assert sum(p.numel() for p in on_meta(family, architectures[i]).parameters()) == counted[i]


def test_params_of_all_15625_cells(family, on_meta, nb201_table):
    assert len(nb201_table) == 15625
    assert_counts(family("nb201"), nb201_table.arch_str, nb201_table.params_m_rebuilt, on_meta, modules=12)
    others = nb201_table.params_m_cifar10.dropna()
    assert (others == nb201_table.params_m_rebuilt[others.index]).all()


def test_params_of_500_cells_of_nb101(family, on_meta, nb101_table):
    assert len(nb101_table) == 500
    assert_counts(family("nb101"), nb101_table.text, nb101_table.params_m, on_meta)


@pytest.mark.parametrize("task", TASKS)
def test_params_of_every_task(family, on_meta, transnas_table, task):
    counted = transnas_table[transnas_table[f"params_m__{task}"].notna()]
    assert len(counted) == 711
    assert_counts(family("tnb101_micro", task=task), counted.arch_str, counted[f"params_m__{task}"], on_meta)


# --- FLOPs --------------------------------------------------------------------------

PER_ELEMENT = {Op.BatchNorm: 2, Op.ReLU: 1, Op.LeakyReLU: 1}
"""What the published FLOPs count beside multiply-adds, for each number that an operation gives."""

MEAN_WINDOW = 81
"""The mean over 8 × 8 is counted as a window of 9 × 9."""


def flops(graph):
    """As published: multiply-adds without transposed convolutions, windows, norms, activations, biases."""
    _, h, _, w, _, c = graph.resolution.astype(np.int64).T
    places, kernel = h * w * c, graph.kernel.astype(np.int64).prod(axis=1)
    total = node_macs({name: getattr(graph, name) for name in NODE_COLUMNS})[graph.op != Op.ConvTranspose].sum()
    total += sum(times * places[graph.op == op].sum() for op, times in PER_ELEMENT.items())
    total += (places * kernel)[np.isin(graph.op, (Op.Avgpool, Op.Maxpool))].sum()
    return int(total + places[(graph.op == Op.Conv) & graph.bias].sum())


def assert_flops(family, texts, millions, mean_channels):
    counted = [flops(family.graph(family.parse(text), family.input_hw)) + mean_channels * MEAN_WINDOW for text in texts]
    np.testing.assert_array_equal(counted, np.rint(np.asarray(millions) * 1e6))


def test_flops_of_nb201(family, nb201_table):
    """Of cells whose operations all reach the output."""
    rows = nb201_table[nb201_table.flops_m_cifar10.notna() & ~nb201_table.arch_str.str.contains("none")][::8]
    assert_flops(family("nb201"), rows.arch_str, rows.flops_m_cifar10, 64)


def test_flops_of_nb101(family, nb101_table):
    assert_flops(family("nb101"), nb101_table.text, nb101_table.flops_m, 0)


@pytest.mark.parametrize("task", [task for task in TASKS if task != "jigsaw"])
def test_flops_of_every_task(family, transnas_table, task):
    """Of cells without zero; those of ``jigsaw`` are of one tile and the whole head."""
    rows = transnas_table[transnas_table[f"flops_m__{task}"].notna()]
    rows = rows[~rows.arch_str.str.partition("-41414-")[2].str.contains("0")]
    classifies = task in TASKS[:3]
    assert_flops(family("tnb101_micro", task=task), rows.arch_str, rows[f"flops_m__{task}"], 512 * classifies)


# --- Isomorphic cells ---------------------------------------------------------------


def test_equal_graphs_are_isomorphic_cells(family, nb201_table):
    """Without ``none``, one graph is one class of the benchmark; the benchmark has fewer classes.

    It also puts together what shares an operation and what computes it twice.
    """
    rows = nb201_table[~nb201_table.arch_str.str.contains("none") & nb201_table.arch_str.str.startswith("|skip")]
    nb201 = family("nb201")
    graphs = GraphSet.of(nb201.graph(nb201.parse(text), (32, 32)) for text in rows.arch_str)
    classes = rows.assign(graph=fingerprints(graphs)).groupby("graph").isomorph_of.nunique()
    assert len(rows) == 1024  # a quarter of them: node 1 is the input
    assert (len(classes), rows.isomorph_of.nunique()) == (400, 350)
    assert classes.max() == 1


def test_trainings_of_one_cell_are_merged_where_vertices_are_pruned(family, nb101_table):
    assert len({family("nb101").parse(text).spec for text in nb101_table.text}) == 301
