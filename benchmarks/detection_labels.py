"""Labels of the task detectron2 on drawn images, and how each metric ranks architectures beside their MACs.

    python benchmarks/detection_labels.py OUT --count 30

Labels are made by ``aiop label``; killed in between, it goes on. Prints Markdown.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
from itertools import combinations
from pathlib import Path

import numpy as np

from aiop_core.metrics import spearman, summarise
from aiop_core.records.store import LabelStore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--family", default="ofa_mbv3")
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--more", default="", help="of aiop label, such as '--iterations 160'")
    given = parser.parse_args()
    command = f"aiop label --task detectron2 --family {given.family} --count {given.count} --out {given.out}"
    subprocess.run(shlex.split(f"{command} {given.more}"), check=True, stdout=subprocess.DEVNULL)
    records = list(LabelStore(given.out))
    metrics = list(records[0].labels)
    columns = ["architecture", *(f"{metric}, %" for metric in metrics), "MACs, M", "s"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for record in sorted(records, key=lambda r: r.costs[metrics[0]].macs):
        values = " | ".join(f"{100 * record.labels[m]:.1f}" for m in metrics)
        macs, seconds = record.costs[metrics[0]].macs / 1e6, record.provenance["seconds"]
        print(f"| `{record.spec}` | {values} | {macs:.0f} | {seconds:.0f} |")
    labels = {m: np.array([r.labels[m] for r in records]) for m in metrics}
    print("\n| metric | mean, % | lowest to highest | Spearman with MACs |\n|---|---|---|---|")
    for metric, values in labels.items():
        macs = np.array([r.costs[metric].macs for r in records], float)
        rho = "{:.3f} [{:.3f}, {:.3f}]".format(*summarise(values, macs, seed=0)["spearman"])
        low, mean, high = (f"{100 * v:.1f}" for v in (values.min(), values.mean(), values.max()))
        print(f"| {metric} | {mean} | {low} to {high} | {rho} |")
    pairs = ", ".join(f"{a} and {b} {spearman(labels[a], labels[b]):.2f}" for a, b in combinations(metrics, 2))
    print(f"\nSpearman between metrics: {pairs}.")


if __name__ == "__main__":
    main()
