"""Transfer between tasks and between families, from published labels, with the predictor ``gp``.

    python benchmarks/transfer.py DATA OUT                    # killed in between, it goes on
    python benchmarks/transfer.py DATA OUT --only nb101-nb201

DATA holds nb201.parquet, tnb101_micro.parquet, nb101_500.csv and ofa_mbv3.csv. A case learns from
all labels of its sources, one entry for each distinct network. Then it ranks the target, whose
graphs it sees, without labels; and it learns from N of the target's labels and predicts the
others, with no network on both sides. Baselines learn from the same N. Prints Markdown: mean over
the seeds [95 % interval of that mean].
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

from aiop_core.contracts import Labelled, NoOptions, silent
from aiop_core.graph.cost import macs, params
from aiop_core.graph.fingerprints import fingerprints
from aiop_core.graph.model import GraphSet
from aiop_core.metrics import mae, spearman
from aiop_core.pipeline.table import spec_text
from aiop_core.plugins import PluginRegistry
from aiop_core.records.splits import holdout
from aiop_predictor_gp.options import GpTuneOptions

REGISTRY = PluginRegistry()
METRICS = {
    **dict.fromkeys(("class_scene", "class_object", "jigsaw"), "valid_top1_pct"),
    **dict.fromkeys(("normal", "autoencoder"), "valid_ssim"),
    "room_layout": "valid_neg_loss",
    "segmentsemantic": "valid_pixel_acc_pct",
}
BASELINES = ("gbt", "flops_only", "params_only")

COLUMNS = {
    "gp": ("gp",),
    "gp from scratch": ("gp from scratch",),
    "gbt": ("gbt",),
    "MACs alone": ("flops_only", "more MACs"),
    "parameters alone": ("params_only", "more parameters"),
}


def labelled(family: str, options: dict, table: pd.DataFrame, columns: list[str], label: str) -> Labelled:
    """Graphs and labels of a table's rows."""
    space = REGISTRY.create("family", family, options)
    rows = table[columns].to_dict("records")
    graphs = GraphSet.of(space.graph(space.parse(spec_text(row, columns)), space.input_hw) for row in rows)
    return Labelled(graphs, table[label].to_numpy(dtype=np.float64))


@functools.cache
def labels_of(data: Path, name: str) -> Labelled:
    """A data set by name; labels of TransNAS-Bench-101 by task."""
    if name == "nb101":
        return labelled("nb101", {}, pd.read_csv(data / "nb101_500.csv"), ["adjacency", "ops"], "val_acc_108ep")
    if name == "ofa":
        table = pd.read_csv(data / "ofa_mbv3.csv")
        return labelled("ofa_mbv3", {"width": 1.0}, table, ["ks", "e", "d"], "imagenet_top1_mean")
    if name.startswith("nb201"):
        table = pd.read_parquet(data / "nb201.parquet")
        table = table[~table.arch_str.str.contains("none")] if name == "nb201 without none" else table
        return labelled("nb201", {}, table, ["arch_str"], "c10_test_200ep_mean")
    table = pd.read_parquet(data / "tnb101_micro.parquet")
    return labelled("tnb101_micro", {"task": name}, table, ["arch_str"], f"{name}__{METRICS[name]}")


def distinct(data: Labelled) -> Labelled:
    """One entry for each network, with the mean of its labels."""
    _, first, number = np.unique(fingerprints(data.graphs), return_index=True, return_inverse=True)
    return Labelled(data.graphs.take(first), np.bincount(number, data.labels) / np.bincount(number))


def case(data: Path, sources: list[str], target: str, adapter: str, sizes: list[int], seeds: int) -> list[dict]:
    """All scores of one transfer."""
    learnt = REGISTRY.create("predictor", "gp")
    learnt.fit(distinct(labels_of(data, sources[0])), seed=0, device="cpu", progress=silent)
    for name in sources[1:]:
        learnt.adapt(name, distinct(labels_of(data, name)), NoOptions(), seed=0, device="cpu", progress=silent)
    goal, options = labels_of(data, target), GpTuneOptions(adapter=adapter)
    learnt.align(goal.graphs, options)
    ranks = {"gp": learnt.predict, "more MACs": macs, "more parameters": params}
    rows = [
        {"labels": 0, "name": n, "spearman": float(spearman(goal.labels, f(goal.graphs)))} for n, f in ranks.items()
    ]
    groups = fingerprints(goal.graphs)

    def tuned(few: Labelled, seed: int) -> Callable:
        learnt.align(goal.graphs, options)
        learnt.tune(few, options, seed=seed, device="cpu", progress=silent)
        return learnt.predict

    def fresh(name: str, few: Labelled, seed: int) -> Callable:
        predictor = REGISTRY.create("predictor", name)
        predictor.fit(few, seed=seed, device="cpu", progress=silent)
        return predictor.predict

    for size in sizes:
        for seed in range(seeds):
            split = holdout(groups, size, seed=seed)
            few, rest, measured = goal.take(split.train), goal.graphs.take(split.test), goal.labels[split.test]
            fits = {"gp": tuned(few, seed), "gp from scratch": fresh("gp", few, seed)}
            fits |= {name: fresh(name, few, seed) for name in BASELINES}
            for name, predict in fits.items():
                found = predict(rest)
                scores = {"mae": float(mae(measured, found)), "spearman": float(spearman(measured, found))}
                rows.append({"labels": size, "name": name, "seed": seed, **scores})
    return rows


def cell(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}" if values else "–"
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    half = float(t.ppf(0.975, len(values) - 1)) * deviation / len(values) ** 0.5
    return f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    two = ["class_object", "class_scene"]
    cases = {
        "segmentsemantic, class_scene": (two, "segmentsemantic", "class_scene", [20]),
        "nb101-nb201": (["nb101"], "nb201 without none", "average", [20, 50]),
        "segmentsemantic": (two, "segmentsemantic", "average", [20]),
        "normal": (two, "normal", "average", [20]),
        "room_layout": (two, "room_layout", "average", [20]),
        "autoencoder": (two, "autoencoder", "average", [20]),
        "jigsaw": (two, "jigsaw", "average", [20]),
        "both-ofa": (["nb201", "nb101"], "ofa", "average", [20, 50]),
        "nb201-class_scene": (["nb201"], "class_scene", "average", [20, 50]),
        "nb201-class_object": (["nb201"], "class_object", "average", [20, 50]),
        "segmentsemantic, with autoencoder": ([*two, "autoencoder"], "segmentsemantic", "average", [20]),
    }
    done: dict[str, pd.DataFrame] = {}
    for name, (sources, target, adapter, sizes) in cases.items():
        path = given.out / f"{name}.json"
        if given.only and name not in given.only:
            continue
        if not path.exists():
            path.write_text(json.dumps(case(given.data, sources, target, adapter, sizes, given.seeds)))
        done[f"{' + '.join(sources)} → {target}" + ("" if adapter == "average" else f", {adapter}")] = pd.DataFrame(
            json.loads(path.read_text())
        )
    for key in ("spearman", "mae"):
        print(f"\n**{key}**\n\n| transfer | labels | {' | '.join(COLUMNS)} |\n|---|---|{'---|' * len(COLUMNS)}")
        for name, rows in done.items():
            for labels, group in rows.groupby("labels"):
                values = {who: group[group.name.isin(names)][key].dropna().tolist() for who, names in COLUMNS.items()}
                if any(values.values()):
                    print(f"| {name} | {labels} | {' | '.join(map(cell, values.values()))} |")


if __name__ == "__main__":
    main()
