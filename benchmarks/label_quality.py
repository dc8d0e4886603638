"""What a task's labels are worth: spread between architectures against spread between training seeds.

Usage: python benchmarks/label_quality.py [--task hpe2d] [--family ofa_pn] [--count 12] [--seeds 2] [--out FOLDER]

Resumable: each (architecture, seed) is kept in FOLDER.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import pearsonr, spearmanr

from aiop_core.pipeline.label import Labeller, label_architectures
from aiop_core.pipeline.view import Quiet
from aiop_core.plugins import PluginRegistry
from aiop_core.records.store import LabelStore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="hpe2d")
    parser.add_argument("--family", default="ofa_pn")
    parser.add_argument("--count", type=int, default=12, help="architectures")
    parser.add_argument(
        "--seeds", type=int, default=2, choices=range(2, 100), metavar="N", help="trainings of each, at least 2"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/label_quality"))
    args = parser.parse_args()
    registry = PluginRegistry()
    family, task = registry.create("family", args.family), registry.create("task", args.task)
    metric = task.metrics[0].name
    architectures = family.sample(args.count, seed=0)
    labels = np.empty((args.seeds, args.count))
    for seed in range(args.seeds):
        store = LabelStore(args.out / str(seed), {"family": args.family, "task": args.task, "seed": seed})
        label_architectures(Labeller(args.family, family, args.task, task, seed, "cpu"), architectures, store, Quiet())
        records = [store.get(a.spec) for a in architectures]
        labels[seed] = [r.labels[metric] for r in records]
    means = labels.mean(axis=0)
    noise = labels.std(axis=0, ddof=1)
    between, within = means.std(ddof=1), float(np.sqrt((noise**2).mean()))
    print(f"{metric} of {args.count} {args.family} architectures, {args.seeds} seeds each, default options")
    print(f"mean {means.mean():.3f} ({means.min():.3f} to {means.max():.3f})")
    print(f"deviation between architectures, of their means over seeds: {between:.4f}")
    print(f"deviation between seeds of one architecture: {within:.4f}")
    print(f"first seed against second: Pearson {pearsonr(*labels[:2]).statistic:.2f}, ", end="")
    print(f"Spearman {spearmanr(*labels[:2]).statistic:.2f}")
    for what, values in (
        ("MACs", [r.costs[metric].macs for r in records]),
        ("parameters", [r.costs[metric].params for r in records]),
        ("nodes", [len(r.graphs[metric]) for r in records]),
    ):
        print(f"Spearman with {what}: {spearmanr(means, values).statistic:.2f}")
    print(f"seconds a label: {np.mean([r.provenance['seconds'] for r in records]):.1f}")


if __name__ == "__main__":
    main()
