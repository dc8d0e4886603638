"""Peak memory and time of fitting and predicting all 15,625 cells of NAS-Bench-201.

Each case is a process of its own that composes the graphs, fits a predictor to the labels of
some of them, and predicts all. Labels are the logarithm of MACs with noise: this measures
cost, not accuracy. The gnn is fitted for ``--epochs`` passes and ``--min-steps`` steps, far
fewer than by default: that shortens its time and changes no memory. Memory is the highest
that the process has held up to the end of each step (resident, with all libraries).

    python benchmarks/memory.py            # prints Markdown; --json for one object a line
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

CELLS = 15_625
GOAL_GB = 2.0


class Steps:
    """Runs steps one after the other and notes for each its seconds and the peak at its end."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = {}

    def run(self, name: str, step: Callable[[], T]) -> T:
        """What ``step`` returns."""
        started = time.perf_counter()
        result = step()
        seconds = time.perf_counter() - started
        self.found[name] = {
            "seconds": seconds,
            "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        }
        return result


def measure(predictor: str, labels: int, options: dict[str, Any], threads: int) -> dict[str, dict[str, float]]:
    """One case, in this process."""
    steps = Steps()
    steps.run("import", _load)
    import numpy as np
    import torch

    from aiop_core.contracts import Labelled, silent
    from aiop_core.graph.cost import macs
    from aiop_core.graph.model import GraphSet
    from aiop_core.plugins import PluginRegistry

    torch.set_num_threads(threads)
    registry, rng = PluginRegistry(), np.random.default_rng(0)
    family = registry.create("family", "nb201")
    sample = family.sample(CELLS, seed=0)
    graphs = steps.run("compose", lambda: GraphSet.of(family.graph(cell, family.input_hw) for cell in sample))
    wanted = np.log10(macs(graphs) + 1) + 0.1 * rng.standard_normal(len(graphs))
    learner = registry.create("predictor", predictor, options)
    train = Labelled(graphs[:labels], wanted[:labels])
    steps.run("fit", lambda: learner.fit(train, seed=0, device="cpu", progress=silent))
    steps.run("predict", lambda: learner.predict(graphs))
    return steps.found


def _load() -> None:
    """Both predictors' libraries, so that cases differ only by what they do."""
    importlib.import_module("aiop_predictor_gnn.predictor")
    importlib.import_module("aiop_predictor_gp.predictor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictors", nargs="+", default=["gp", "gnn"])
    parser.add_argument("--labels", type=int, nargs="+", default=[1563, CELLS], help="how many are fitted")
    parser.add_argument("--epochs", type=int, default=2, help="of the gnn")
    parser.add_argument("--min-steps", type=int, default=100, help="of the gnn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--case", nargs=2, metavar=("PREDICTOR", "LABELS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        predictor, labels = given.case
        options = {"epochs": given.epochs, "min_steps": given.min_steps} if predictor == "gnn" else {}
        print(json.dumps(measure(predictor, int(labels), options, given.threads)))
        return
    if not given.json:
        print("| predictor | labels | composed s | fit s | predict all s | peak GB: composed | fit | predicted |")
        print("|---|---|---|---|---|---|---|---|")
    for predictor in given.predictors:
        for labels in given.labels:
            case = [sys.executable, __file__, *sys.argv[1:], "--case", predictor, str(labels)]
            found = json.loads(subprocess.run(case, check=True, stdout=subprocess.PIPE, text=True).stdout)
            if given.json:
                print(json.dumps({"predictor": predictor, "labels": labels, **found}), flush=True)
                continue
            steps = [found[name] for name in ("compose", "fit", "predict")]
            numbers = [*(f"{step['seconds']:.1f}" for step in steps), *(f"{step['peak_gb']:.2f}" for step in steps)]
            over = f" (over {GOAL_GB:.0f} GB)" if steps[-1]["peak_gb"] > GOAL_GB else ""
            print(f"| {predictor} | {labels:,} | {' | '.join(numbers)}{over} |", flush=True)


if __name__ == "__main__":
    main()
