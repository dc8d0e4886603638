"""How many graphs a second the predictor ``gnn`` trains on and predicts, beside plain torch_geometric.

Both run the same network on the same graphs in the same process: ours unrolls graphs
into distinct neighbourhoods, torch_geometric's DataLoader collates every node. Epochs
leave out what either does once before the first; inference has our unrolling in it. Each
number is the median of ``--rounds`` rounds that alternate between the two.

    python benchmarks/predictor_speed.py --family ofa_pn --graphs 1024 --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional
from torch_geometric.loader import DataLoader

from aiop_core.graph.model import GraphSet
from aiop_core.plugins import PluginRegistry
from aiop_predictor_gnn.encoder import GraphRegressor
from aiop_predictor_gnn.geometric import GeometricRegressor, geometric_data
from aiop_predictor_gnn.nodes import VOCABULARIES, NodeTable
from aiop_predictor_gnn.options import GnnOptions
from aiop_predictor_gnn.predictor import GnnPredictor

VOCABULARY = VOCABULARIES["aiop"]


def family_graphs(families: list[str], count: int, seed: int) -> GraphSet:
    """Equal shares of ``count`` graphs from each family."""
    found = [PluginRegistry().create("family", name) for name in families]
    return GraphSet.of(
        family.graph(architecture, family.input_hw)
        for family in found
        for architecture in family.sample(count // len(found), seed=seed)
    )


def step(optimizer: torch.optim.Optimizer, predictions: torch.Tensor, labels: torch.Tensor) -> None:
    optimizer.zero_grad()
    functional.mse_loss(predictions, labels).backward()
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 5.0)
    optimizer.step()


def ours_training(graphs: GraphSet, labels: torch.Tensor, batch_size: int) -> Callable[[], None]:
    predictor = GnnPredictor(GnnOptions())
    network = GraphRegressor(VOCABULARY)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
    layers = predictor.layers(graphs)  # once a fit, as in a DataLoader's data set
    rng = np.random.default_rng(0)

    def epoch() -> None:
        order = rng.permutation(len(graphs))
        for start in range(0, len(order), batch_size):
            ids = order[start : start + batch_size]
            step(optimizer, network(layers.take(ids).batch()), labels[ids])

    return epoch


def plain_training(graphs: GraphSet, labels: torch.Tensor, batch_size: int) -> Callable[[], None]:
    network = GeometricRegressor(GraphRegressor(VOCABULARY))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
    data = geometric_data(graphs, NodeTable.of(graphs, VOCABULARY, "fixed"))
    for item, label in zip(data, labels, strict=True):
        item.y = label
    loader = DataLoader(data, batch_size=batch_size, shuffle=True)

    def epoch() -> None:
        for batch in loader:
            step(optimizer, network(batch), batch.y)

    return epoch


def ours_inference(graphs: GraphSet) -> Callable[[], None]:
    predictor = GnnPredictor(GnnOptions())
    predictor.network = GraphRegressor(VOCABULARY)
    return lambda: (predictor.predict(graphs), None)[1]


def plain_inference(graphs: GraphSet, batch_size: int) -> Callable[[], None]:
    network = GeometricRegressor(GraphRegressor(VOCABULARY))
    data = geometric_data(graphs, NodeTable.of(graphs, VOCABULARY, "fixed"))

    def predict() -> None:
        with torch.inference_mode():
            for batch in DataLoader(data, batch_size=batch_size):
                network(batch)

    return predict


def graphs_per_second(count: int, rounds: int, **runs: Callable[[], None]) -> dict[str, float]:
    """The median of each run, taken in turns; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: count / statistics.median(times[1:]) for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", nargs="+", default=["ofa_pn"], help="registered families to sample from")
    parser.add_argument("--graphs", type=int, default=1024)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 32, 128], help="for training")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: as torch chooses")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)

    graphs = family_graphs(arguments.family, arguments.graphs, arguments.seed)
    started = time.perf_counter()
    GnnPredictor(GnnOptions()).layers(graphs)
    unrolling_s = time.perf_counter() - started
    labels = torch.rand(len(graphs), generator=torch.Generator().manual_seed(arguments.seed))
    rows = {}
    for size in arguments.batch_sizes:
        used = graphs if size > 1 else graphs[:128]
        rows[f"training, batches of {size}"] = graphs_per_second(
            len(used),
            arguments.rounds,
            aiop=ours_training(used, labels[: len(used)], size),
            torch_geometric=plain_training(used, labels[: len(used)], size),
        )
    rows["inference"] = graphs_per_second(
        len(graphs), arguments.rounds, aiop=ours_inference(graphs), torch_geometric=plain_inference(graphs, 128)
    )
    for row in rows.values():
        row["ratio"] = row["aiop"] / row["torch_geometric"]
    if arguments.json:
        about = {"nodes_per_graph": float(graphs.sizes.mean()), "threads": torch.get_num_threads(), **vars(arguments)}
        about["unrolling_s"] = unrolling_s
        print(json.dumps({**about, "graphs_per_second": rows}))
        return
    nodes, threads = graphs.sizes.mean(), torch.get_num_threads()
    print(f"{len(graphs)} graphs of {', '.join(arguments.family)}, {nodes:.0f} nodes each, {threads} threads")
    print(f"unrolling them, once a fit and not part of a training epoch: {unrolling_s:.2f} s")
    print(f"{'graphs/s':28}{'aiop':>10}{'torch_geometric':>18}{'ratio':>8}")
    for name, row in rows.items():
        print(f"{name:28}{row['aiop']:10.0f}{row['torch_geometric']:18.0f}{row['ratio']:8.1f}")


if __name__ == "__main__":
    main()
