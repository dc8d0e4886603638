"""How many graphs a second predictors train on and predict, beside two plain ways with torch_geometric.

All three run the same network on the same graphs in the same process:

- ``aiop``: the predictor ``gnn``, which unrolls graphs into distinct neighbourhoods.
- ``torch_geometric``: its DataLoader collates every node of graphs of any size.
- ``research``: batching as the research code of AIO-P does it. Only graphs of equal size
  share a batch, so that their nodes are one dense tensor; batches are formed once and come
  in a new order each epoch. Few graphs have equal sizes, so most batches are small.

Epochs leave out what each does once before the first; inference has our unrolling in it,
and fine-tuning is the predictor's own ``tune``, all of it. The predictor ``gp`` has no
plain counterpart. Each number is the median of ``--rounds`` rounds that alternate.

    python benchmarks/predictor_speed.py --family ofa_pn --graphs 1024 --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from aiop_core.contracts import Labelled, silent
from aiop_core.graph.model import GraphSet
from aiop_core.plugins import PluginRegistry
from aiop_predictor_gnn.encoder import GraphRegressor
from aiop_predictor_gnn.geometric import GeometricRegressor, geometric_data
from aiop_predictor_gnn.nodes import VOCABULARIES, NodeFeatures, NodeTable
from aiop_predictor_gnn.options import GnnOptions, TuneOptions
from aiop_predictor_gnn.predictor import GnnPredictor

VOCABULARY = VOCABULARIES["aiop"]
FEATURES = ("op", "resolution", "kernel", "bias", "weighted")
TUNED, PLAIN_EPOCHS = 20, 5
"""Graphs in fine-tuning (the paper's), and how often the slow ways see each in a round."""

Run = Callable[[], int]  # does some work and says on how many graphs, each counted as often as it was seen


def family_graphs(families: list[str], count: int, seed: int) -> GraphSet:
    """Equal shares of ``count`` graphs from each family."""
    found = [PluginRegistry().create("family", name) for name in families]
    return GraphSet.of(
        family.graph(architecture, family.input_hw)
        for family in found
        for architecture in family.sample(count // len(found), seed=seed)
    )


def network() -> GraphRegressor:
    return GraphRegressor.initialised(VOCABULARY, torch.Generator().manual_seed(0))


def fitted() -> GnnPredictor:
    predictor = GnnPredictor(GnnOptions())
    predictor.network = network()
    return predictor


def plain_graphs(graphs: GraphSet, labels: Tensor) -> list[Data]:
    data = geometric_data(graphs, NodeTable.of(graphs, VOCABULARY, "fixed"))
    for item, label in zip(data, labels, strict=True):
        item.y = label
    return data


def adam(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(module.parameters(), lr=1e-4, fused=True)


def step(optimizer: torch.optim.Optimizer, predictions: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    functional.mse_loss(predictions, labels).backward()
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 5.0)
    optimizer.step()


class EqualSizes:
    """The research code's batches: graphs with as many nodes, and as many with weights, as each other."""

    def __init__(self, data: list[Data], batch_size: int) -> None:
        alike = defaultdict(list)
        for item in data:
            alike[item.num_nodes, int(item.weighted.sum())].append(item)
        self.batches = [
            (
                NodeFeatures(*(torch.stack([getattr(item, name) for item in part]).flatten(0, 1) for name in FEATURES)),
                [item.edge_index for item in part],
                torch.stack([item.y for item in part]),
            )
            for items in alike.values()
            for part in (items[start : start + batch_size] for start in range(0, len(items), batch_size))
        ]

    @property
    def mean_size(self) -> float:
        """Graphs a batch."""
        return sum(len(labels) for *_, labels in self.batches) / len(self.batches)


def dense_forward(model: GeometricRegressor, nodes: NodeFeatures, edges: list[Tensor]) -> Tensor:
    """Embed a dense batch, put its graphs into one, convolve, and take the mean over the nodes of each."""
    dense = model.network.embedding(nodes).unflatten(0, (len(edges), -1))
    batch = Batch.from_data_list([Data(x=x, edge_index=edge_index) for x, edge_index in zip(dense, edges, strict=True)])
    x = batch.x
    for layer in model.layers:
        x = torch.tanh(layer(x, batch.edge_index))
    return model.network.head(x.unflatten(0, (len(edges), -1)).mean(1))


def ours_training(graphs: GraphSet, labels: Tensor, batch_size: int) -> Run:
    predictor = fitted()
    optimizer = adam(predictor.network)
    layers = predictor.layers(graphs)  # once a fit, as in a DataLoader's data set
    rng = np.random.default_rng(0)

    def epoch() -> int:
        order = rng.permutation(len(graphs))
        for start in range(0, len(order), batch_size):
            ids = order[start : start + batch_size]
            step(optimizer, predictor.network(layers.take(ids).batch()), labels[ids])
        return len(graphs)

    return epoch


def plain_training(data: list[Data], batch_size: int, epochs: int = 1) -> Run:
    model = GeometricRegressor(network())
    optimizer = adam(model)
    loader = DataLoader(data, batch_size=batch_size, shuffle=True)

    def train() -> int:
        for _ in range(epochs):
            for batch in loader:
                step(optimizer, model(batch), batch.y)
        return epochs * len(data)

    return train


def research_training(data: list[Data], batch_size: int, epochs: int = 1) -> Run:
    model = GeometricRegressor(network())
    optimizer = adam(model)
    batches, rng = EqualSizes(data, batch_size).batches, np.random.default_rng(0)

    def train() -> int:
        for _ in range(epochs):
            for i in rng.permutation(len(batches)):
                nodes, edges, labels = batches[i]
                step(optimizer, dense_forward(model, nodes, edges), labels)
        return epochs * len(data)

    return train


def ours_inference(predictor: Any, graphs: GraphSet) -> Run:
    return lambda: len(predictor.predict(graphs))


def plain_inference(data: list[Data], batch_size: int) -> Run:
    model = GeometricRegressor(network())

    def predict() -> int:
        with torch.inference_mode():
            for batch in DataLoader(data, batch_size=batch_size):
                model(batch)
        return len(data)

    return predict


def research_inference(data: list[Data], batch_size: int) -> Run:
    model, batches = GeometricRegressor(network()), EqualSizes(data, batch_size).batches

    def predict() -> int:
        with torch.inference_mode():
            for nodes, edges, _ in batches:
                dense_forward(model, nodes, edges)
        return len(data)

    return predict


def ours_tuning(target: Labelled) -> Run:
    """As a user calls it: the paper's 100 epochs at batch 1, every weight free, unrolling included."""
    options, predictor = TuneOptions(what="all"), fitted()

    def tune() -> int:
        predictor.tune(target, options, seed=0, device="cpu", progress=silent)
        return options.epochs * len(target)

    return tune


def gp_fit(predictor: Any, train: Labelled) -> Run:
    def fit() -> int:
        predictor.fit(train, seed=0, device="cpu", progress=silent)
        return len(train)

    return fit


def graphs_per_second(rounds: int, **runs: Run) -> dict[str, float]:
    """The median of each run, taken in turns; the first round warms up."""
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            count = run()
            speeds[name].append(count / (time.perf_counter() - start))
    return {name: statistics.median(found[1:]) for name, found in speeds.items()}


def measure(graphs: GraphSet, labels: Tensor, given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Graphs a second: a row for each kind of work, a column for each way."""
    data = plain_graphs(graphs, labels)
    few = np.random.default_rng(given.seed).permutation(len(graphs))[:TUNED]
    target = Labelled(graphs.take(few), labels.double().numpy()[few])
    gp, count = PluginRegistry().create("predictor", "gp"), min(given.gp_labels, len(graphs))
    train = Labelled(graphs[:count], labels.double().numpy()[:count])
    rows = {
        f"training, batches of {size}": graphs_per_second(
            given.rounds,
            aiop=ours_training(graphs, labels, size),
            torch_geometric=plain_training(data, size),
            research=research_training(data, size),
        )
        for size in given.batch_sizes
    }
    rows[f"fine-tuning on {len(few)}, batches of 1"] = graphs_per_second(
        given.rounds,
        aiop=ours_tuning(target),
        torch_geometric=plain_training([data[i] for i in few], 1, PLAIN_EPOCHS),
        research=research_training([data[i] for i in few], 1, PLAIN_EPOCHS),
    )
    rows["inference"] = graphs_per_second(
        given.rounds,
        aiop=ours_inference(fitted(), graphs),
        torch_geometric=plain_inference(data, 128),
        research=research_inference(data, 32),
    )
    rows[f"gp: fit on {count}"] = graphs_per_second(given.rounds, aiop=gp_fit(gp, train))
    rows["gp: inference"] = graphs_per_second(given.rounds, aiop=ours_inference(gp, graphs))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", nargs="+", default=["ofa_pn"], help="registered families to sample from")
    parser.add_argument("--graphs", type=int, default=1024)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 128], help="for training")
    parser.add_argument("--gp-labels", type=int, default=300, help="that the gp is fitted to")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: as torch chooses")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)

    graphs = family_graphs(given.family, given.graphs, given.seed)
    labels = torch.rand(len(graphs), generator=torch.Generator().manual_seed(given.seed))
    started = time.perf_counter()
    GnnPredictor(GnnOptions()).layers(graphs)
    about = {
        "unrolling_s": time.perf_counter() - started,
        "nodes_per_graph": float(graphs.sizes.mean()),
        "research_batch": EqualSizes(plain_graphs(graphs, labels), 32).mean_size,
        "threads": torch.get_num_threads(),
    }
    rows = measure(graphs, labels, given)
    if given.json:
        print(json.dumps({**vars(given), **about, "graphs_per_second": rows}))
        return
    print(f"{len(graphs)} graphs of {', '.join(given.family)}", end=", ")
    print(f"{about['nodes_per_graph']:.0f} nodes each, {about['threads']} threads")
    print(f"batches of 32 graphs of equal size (research) hold {about['research_batch']:.1f} on average")
    print(f"unrolling, once a fit and not part of a training epoch: {about['unrolling_s']:.2f} s\n")
    print("| graphs/s | aiop | torch_geometric | ratio | research | ratio |\n|---|---|---|---|---|---|")
    for name, row in rows.items():
        others = [row.get(other) for other in ("torch_geometric", "research")]
        cells = [f"{speed:,.0f} | {row['aiop'] / speed:.1f}" if speed else "– | –" for speed in others]
        print(f"| {name} | {row['aiop']:,.0f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
