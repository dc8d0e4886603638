"""Zero-cost scores of sampled NAS-Bench-201 networks, beside published scores and accuracies, and their time.

Usage: python benchmarks/zero_cost.py nb201.parquet [--out zero_cost.jsonl] [--cells 100] [--batch 32] [--noise pink]

The table has the columns ``arch_str``, ``zc_NAME_cifar10`` (NAS-Bench-Suite-Zero, on images of
CIFAR-10) and ``c10_test_200ep_mean``. Each network is one line of JSON, appended when it is
done: a killed run goes on where it stopped.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from aiop_core.metrics import spearman
from aiop_core.pipeline.initialisation import architecture_seed, initialisation
from aiop_core.plugins import PluginRegistry
from aiop_profiler_zerocost.options import PROXIES

TARGET = "c10_test_200ep_mean"


def measure(family, profiler, text: str, device: str) -> dict:
    """The scores of one network, and the seconds that they took."""
    with initialisation(architecture_seed(0, text)):
        network = family.network(family.parse(text)).to(device)
    started = time.perf_counter()
    scores = profiler.profile(network, (3, 32, 32))
    return {"arch_str": text, "seconds": time.perf_counter() - started, **scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--out", type=Path, default=Path("zero_cost.jsonl"))
    parser.add_argument("--cells", type=int, default=100, help="how many, of those without dead operations")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--noise", default="pink", choices=("pink", "white"))
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    registry = PluginRegistry()
    family = registry.create("family", "nb201")
    profiler = registry.create("profiler", "zerocost", {"proxies": PROXIES, "batch": args.batch, "noise": args.noise})
    table = pd.read_parquet(args.table).dropna(subset=["zc_synflow_cifar10"])
    table = table.iloc[np.random.default_rng(0).permutation(len(table))[: args.cells]].set_index("arch_str")
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    known = {row["arch_str"] for row in map(json.loads, lines)}
    with args.out.open("a", encoding="utf-8") as out:
        for text in table.index:
            if text not in known:
                out.write(json.dumps(measure(family, profiler, text, args.device)) + "\n")
                out.flush()
    found = pd.DataFrame(map(json.loads, args.out.read_text().splitlines())).set_index("arch_str")
    table = table.loc[[text for text in found.index if text in table.index]]
    found = found.loc[table.index]
    print(
        f"{len(found)} networks, batch {args.batch}, {args.noise} noise, median {found.seconds.median():.2f} s each\n"
    )
    print("| score | Spearman with the published score | with accuracy | published score with accuracy | known |")
    print("|---|---|---|---|---|")
    for name in PROXIES:
        ours, theirs = found[name].to_numpy(), table[f"zc_{name}_cifar10"].to_numpy()
        labels, both = table[TARGET].to_numpy(), np.isfinite(ours)
        pairs = [(ours[both], theirs[both]), (ours[both], labels[both]), (theirs, labels)]
        print(f"| {name} | {' | '.join(f'{spearman(*pair):.3f}' for pair in pairs)} | {both.sum()} |")


if __name__ == "__main__":
    main()
