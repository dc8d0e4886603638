"""What makes a graph network rank better, one change at a time, and what it adds to the predictor ``gp``.

Usage: python benchmarks/recipes.py FOLDER {nb201,ofa_mbv3} [--labels 156 781] [--recipes NAME …] [--out FOLDER]

FOLDER holds ``nas/nb201.parquet`` and ``nas/ofa_mbv3.csv``. The table shows Kendall's τ of each recipe, and of its
average with ``gp``. Resumable: predictions of each (recipe, labels, seed) are kept in ``--out``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aiop_core.contracts import silent
from aiop_core.graph.model import NODE_COLUMNS, GraphSet
from aiop_core.graph.ops import Op
from aiop_core.metrics import kendall
from aiop_core.pipeline.table import table_cache
from aiop_core.pipeline.view import Quiet
from aiop_core.plugins import PluginRegistry
from aiop_core.records.cache import GraphCache
from aiop_predictor_gnn import encoder
from aiop_predictor_gnn.batching import Batch, Layers
from aiop_predictor_gnn.nodes import VOCABULARIES, NodeTable
from aiop_predictor_gp.learner import Scale
from aiop_predictor_gp.reading import structure
from aiop_predictor_gp.targets import Target

BATCH, RATE, WARM_UP, CLIP = 128, 3e-3, 0.05, 5.0
PREDICT_GRAPHS, UNLABELLED = 2000, 4000
WEIGHTS = (0.2, 0.35, 0.5)
TARGETS = {"rank": Target.rank, "raw": Target.raw}


class Data(NamedTuple):
    """A table of published labels of a family, and whether training networks are among those ranked."""

    file: str
    label: str
    columns: tuple[str, ...]
    target: str
    trained_too: bool


DATA = {
    "nb201": Data("nb201.parquet", "c10_test_200ep_mean", ("arch_str",), "rank", trained_too=True),
    "ofa_mbv3": Data("ofa_mbv3.csv", "imagenet_top1_mean", ("ks", "e", "d"), "raw", trained_too=False),
}


@dataclass(frozen=True)
class Recipe:
    """One graph network; the defaults are the base that each change is measured against."""

    target: str | None = None
    losses: dict[str, float] = field(default_factory=lambda: {"squared": 1.0})
    both_ways: bool = False
    prune: bool = False
    features: bool = False
    dropout: float = 0.0
    width: int = encoder.HIDDEN
    pretraining: int = 0
    members: int = 1
    steps: int = 500


RANKING = ("logistic", "hinge", "listmle", "softmax", "spearman")
FEATURES, BOTH = {"features": True, "dropout": 0.3}, {"both_ways": True, "prune": True}
RECIPES = {
    "raw target": Recipe("raw"),
    "rank target": Recipe("rank"),
    **{f"{name} alone": Recipe(losses={name: 1.0}) for name in RANKING},
    **{f"squared + {name}": Recipe(losses={"squared": 1.0, name: 0.5}) for name in RANKING},
    "both ways": Recipe(both_ways=True),
    "features": Recipe(features=True, dropout=0.1),
    "prune": Recipe(prune=True),
    "pretraining": Recipe(pretraining=300),
    "width 64": Recipe(width=64),
    "3 members": Recipe(members=3),
    "prune, features": Recipe(prune=True, features=True, dropout=0.1),
    "prune, both ways": Recipe(**BOTH),
    "prune, both ways, 1500 steps": Recipe(**BOTH, steps=1500),
    "prune, both ways, features": Recipe(**BOTH, **FEATURES),
    "prune, both ways, features, 1500 steps": Recipe(**BOTH, **FEATURES, steps=1500),
    "prune, both ways, features, 3 members": Recipe(**BOTH, **FEATURES, members=3),
}


def _pairs(predicted: Tensor, wanted: Tensor, cost: Callable[[Tensor], Tensor]) -> Tensor:
    """The mean cost of how far the better of each pair is predicted above the other."""
    ordered = (wanted[:, None] > wanted).float()
    return (cost(predicted[:, None] - predicted) * ordered).sum() / ordered.sum()


def _listmle(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Minus the log-likelihood of the true order under Plackett and Luce (Xia et al., ICML 2008)."""
    rising = predicted[torch.argsort(wanted)]
    return (torch.logcumsumexp(rising, 0) - rising).mean()


def _ranks(values: Tensor, temperature: float) -> Tensor:
    ranks = torch.sigmoid((values[:, None] - values) / temperature).sum(1)
    return ranks - ranks.mean()


Loss = Callable[[list[Batch], np.ndarray], Tensor]
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": functional.mse_loss,
    "logistic": lambda p, z: _pairs(p, z, lambda gap: functional.softplus(-gap)),
    "hinge": lambda p, z: _pairs(p, z, lambda gap: torch.relu(0.1 - gap)),
    "listmle": _listmle,
    "softmax": lambda p, z: -(torch.softmax(2 * z, 0) * torch.log_softmax(2 * p, 0)).sum(),
    "spearman": lambda p, z: 1 - functional.cosine_similarity(_ranks(p, 0.2), _ranks(z, 1e-4), dim=0),
}


def pruned(graphs: GraphSet) -> GraphSet:
    """Without the nodes that no input reaches, or that reach no output; outputs stay."""
    shift = np.repeat(graphs.node_offsets[:-1], np.diff(graphs.edge_offsets))
    (source, target), op = graphs.edges + shift, graphs.columns["op"]
    keep = np.ones(len(op), dtype=bool)
    for tail, head, start in ((source, target, Op.Input), (target, source, Op.Output)):
        reached, before = op == start, -1
        while before != (before := int(reached.sum())):
            reached[head[reached[tail]]] = True
            reached &= op != Op.Zero
        keep &= reached
    keep |= op == Op.Output
    edges = keep[source] & keep[target]
    nodes_before, edges_before = (np.concatenate([[0], np.cumsum(kept)]) for kept in (keep, edges))
    offsets, edge_offsets = nodes_before[graphs.node_offsets], edges_before[graphs.edge_offsets]
    shift = np.repeat(offsets[:-1], np.diff(edge_offsets))
    columns = {name: graphs.columns[name][keep] for name in NODE_COLUMNS}
    return GraphSet(columns, nodes_before[np.stack([source[edges], target[edges]])] - shift, offsets, edge_offsets)


def views(graphs: GraphSet, recipe: Recipe) -> list[Layers]:
    """The graphs unrolled, and, both ways, once more with every edge turned round."""
    graphs = pruned(graphs) if recipe.prune else graphs
    turned = [replace(graphs, edges=graphs.edges[::-1])] if recipe.both_ways else []
    return [Layers.of(g, NodeTable.of(g, VOCABULARIES["aiop"], "fixed"), encoder.LAYERS) for g in (graphs, *turned)]


class Network(nn.Module):
    """The pieces of ``gnn``, an encoder for each view, and features beside their means."""

    def __init__(self, recipe: Recipe, features: int, generator: torch.Generator) -> None:
        super().__init__()
        count = 1 + recipe.both_ways
        with mock.patch.object(encoder, "HIDDEN", recipe.width):
            self.embedding = encoder.NodeEmbedding(VOCABULARIES["aiop"])
            self.encoders = nn.ModuleList(encoder.GraphEncoder() for _ in range(count))
            self.projection = encoder.projection(recipe.width * count + features)
        self.dropout, self.output = nn.Dropout(recipe.dropout), nn.Linear(recipe.width, 1)
        encoder.initialise(self, generator)
        with torch.no_grad():
            self.embedding.resolution.weight *= encoder.RESOLUTION_GAIN

    def read(self, batches: list[Batch], features: Tensor) -> Tensor:
        """What the output is a line through."""
        pairs = zip(self.encoders, batches, strict=True)
        parts = [
            batch.readout(layers(self.embedding(batch.nodes), batch.hops)) / batch.sizes for layers, batch in pairs
        ]
        return self.projection(torch.cat([*parts, self.dropout(features)], dim=1))

    def forward(self, batches: list[Batch], features: Tensor) -> Tensor:
        """One number a graph."""
        return self.output(self.read(batches, features)).squeeze(1)


def train(free: list[nn.Parameter], layers: list[Layers], steps: int, rng: np.random.Generator, loss: Loss) -> None:
    """Adam with a warm-up and half a cosine, on whole batches only."""
    optimizer = torch.optim.AdamW(free, weight_decay=0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=WARM_UP, cycle_momentum=False)
    count = len(layers[0])
    size = count if count <= 1.5 * BATCH else BATCH
    whole = [part.batch() for part in layers] if size == count else None
    order = np.arange(count)
    for step in range(steps):
        place = step % (count // size)
        if place == 0 and whole is None:
            order = rng.permutation(count)
        rows = order[place * size : (place + 1) * size]
        found = loss(whole or [part.take(rows).batch() for part in layers], rows)
        optimizer.zero_grad()
        found.backward()
        nn.utils.clip_grad_norm_(free, CLIP)
        optimizer.step()
        schedule.step()


def pretrain(network: Network, graphs: GraphSet, table: np.ndarray, recipe: Recipe, seed: int) -> None:
    """Learn the features of graphs without labels, so that the encoder starts from what they measure."""
    rng = np.random.default_rng(1000 + seed)
    some = rng.permutation(len(graphs))[:UNLABELLED]
    wanted = torch.as_tensor(Scale.of(table[some])(table[some]), dtype=torch.float32).clamp(-4, 4)
    head = nn.Linear(recipe.width, wanted.shape[1])

    def loss(batches: list[Batch], rows: np.ndarray) -> Tensor:
        return functional.mse_loss(head(network.read(batches, wanted[rows, :0])), wanted[rows])

    train([*network.parameters(), *head.parameters()], views(graphs.take(some), recipe), recipe.pretraining, rng, loss)


def graph_network(cache: GraphCache, table: np.ndarray, rows: np.ndarray, recipe: Recipe, seed: int) -> np.ndarray:
    """Scaled predictions for all graphs, the mean over members."""
    labels, found = cache.labels[rows], []
    wanted = torch.as_tensor(TARGETS[recipe.target or "raw"](labels).transform(labels), dtype=torch.float32)
    features = torch.as_tensor(Scale.of(table[rows])(table), dtype=torch.float32).clamp(-5, 5)
    features = features if recipe.features else features[:, :0]
    layers = views(cache.graphs.take(rows), recipe)
    for member in range(seed, seed + 100 * recipe.members, 100):
        torch.manual_seed(member)  # of dropout and the pretraining's head
        network = Network(recipe, features.shape[1], torch.Generator().manual_seed(member))
        if recipe.pretraining:
            pretrain(network, cache.graphs, table, recipe, seed)

        def loss(batches: list[Batch], part: np.ndarray, network: Network = network) -> Tensor:
            predicted, goal = network(batches, features[rows[part]]), wanted[part]
            return sum((w * LOSSES[name](predicted, goal) for name, w in recipe.losses.items()), torch.zeros(()))

        train([*network.parameters()], layers, recipe.steps, np.random.default_rng(member), loss)
        network.eval()
        with torch.inference_mode():
            parts = torch.arange(len(cache.labels)).split(PREDICT_GRAPHS)
            batches = ([part.batch() for part in views(cache.graphs.take(ids.numpy()), recipe)] for ids in parts)
            found.append(torch.cat([network(b, features[ids]) for b, ids in zip(batches, parts, strict=True)]).numpy())
    return np.mean([normal(values) for values in found], axis=0)


def normal(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared_data", type=Path, metavar="FOLDER")
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--labels", type=int, nargs="+", default=[100])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--recipes", nargs="+", choices=[*RECIPES, "gnn", "gp"], default=["gp", "gnn", *RECIPES])
    parser.add_argument("--out", type=Path, default=Path("runs/recipes"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, out = DATA[args.data], args.out / args.data
    out.mkdir(parents=True, exist_ok=True)
    if not (path := out / "graphs.safetensors").exists():
        family = PluginRegistry().create("family", args.data)
        about = {"family_name": args.data, "family": family, "label": data.label, "spec_columns": data.columns}
        size = {"unit": "percent", "input_hw": family.input_hw, "provenance": {}, "view": Quiet()}
        table_cache(args.shared_data / "nas" / data.file, **about, **size).save(path)
    cache = GraphCache.load(path)
    table = np.concatenate([*structure(cache.graphs).values()], axis=1)

    def predictions(name: str, rows: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
        path = out / f"{name.replace(' ', '_')}-{len(rows)}-{seed}.npz"
        if not path.exists():
            started = time.process_time()
            if name in RECIPES:
                recipe = replace(RECIPES[name], target=RECIPES[name].target or data.target)
                values = graph_network(cache, table, rows, recipe, seed)
            else:
                predictor = PluginRegistry().create("predictor", name)
                predictor.fit(cache.labelled.take(rows), seed=seed, device="cpu", progress=silent)
                values = TARGETS[data.target](cache.labels[rows]).transform(predictor.predict(cache.graphs))
            np.savez(path, values=values, seconds=time.process_time() - started)
        kept = np.load(path)
        return kept["values"], float(kept["seconds"])

    print(f"| labels | recipe | τ | {' | '.join(f'{w:g} of it with gp' for w in WEIGHTS)} | s |")
    print("|---" * (4 + len(WEIGHTS)) + "|")
    for count in args.labels:
        draws = [np.random.default_rng(seed).permutation(len(cache))[:count] for seed in range(args.seeds)]
        tests = [np.arange(len(cache)) if data.trained_too else np.setdiff1d(np.arange(len(cache)), r) for r in draws]
        for name in args.recipes:
            scores, seconds = [], []
            for seed, (rows, test) in enumerate(zip(draws, tests, strict=True)):
                values, spent = predictions(name, rows, seed)
                process = normal(predictions("gp", rows, seed)[0])
                mixed = [values, *((1 - w) * process + w * normal(values) for w in WEIGHTS)]
                scores.append([float(kendall(cache.labels[test], m[test])) for m in mixed])
                seconds.append(spent)
            cells = " | ".join(f"{score:.4f}" for score in np.mean(scores, axis=0))
            print(f"| {count} | {name} | {cells} | {np.mean(seconds):.1f} |", flush=True)


if __name__ == "__main__":
    main()
