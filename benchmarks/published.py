"""Accuracy on labels that others published, through aiop's own commands.

    python benchmarks/published.py DATA OUT            # both; killed in between, it goes on
    python benchmarks/published.py DATA OUT --only A   # one of them

DATA holds nb201.parquet and ofa_mbv3.csv. Prints Markdown. Transfer is in transfer.py.

A  NAS-Bench-201: few labels, tested on all 15,625 cells and on those not learnt from
Z  the same with the table's zero-cost scores, tested on all
D  OFA-MobileNetV3 on ImageNet: few labels
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
from pathlib import Path

SIZES = "78,156,469,781,1563"

PROXIES = ("epe_nas", "fisher", "grad_norm", "grasp", "jacov", "l2_norm", "nwot", "plain", "snip", "synflow", "zen")


class Runs:
    """Commands whose results lie in folders; a finished one is not run again."""

    def __init__(self, data: Path, out: Path, seeds: int) -> None:
        self.data, self.out, self.seeds = data, out, seeds

    def labels(self, name: str) -> str:
        """The flags that name a table of labels."""
        table, what = {
            "nb201": ("nb201.parquet", "--family nb201 --label c10_test_200ep_mean --spec-columns arch_str"),
            "ofa": ("ofa_mbv3.csv", "--family ofa_mbv3 --width 1.0 --label imagenet_top1_mean --spec-columns ks,e,d"),
        }[name]
        return f"--table {shlex.quote(str(self.data / table))} {what}"

    def aiop(self, name: str, command: str, done: str = "results.json") -> Path:
        """Run ``aiop COMMAND --out OUT/name`` unless OUT/name/done exists."""
        folder = self.out / name
        if not (folder / done).exists():
            line = f"aiop {command} --out {shlex.quote(str(folder))}"
            print(f"$ {line}", flush=True)
            subprocess.run(shlex.split(line), check=True, stdout=subprocess.DEVNULL)
        return folder

    def table(self, title: str, folder: Path, keys: tuple[str, ...]) -> None:
        """The mean over seeds ± its deviation, and the 95 % interval of the mean."""
        rows = json.loads((folder / "results.json").read_text())
        print(f"\n**{title}**\n\n| labels | predictor | {' | '.join(keys)} |\n|---|---|{'---|' * len(keys)}")
        for row in rows["summary"]:
            print(f"| {row['labels']} | {row['name']} | {' | '.join(_text(row, key) for key in keys)} |")
        print(flush=True)


def _text(row: dict, key: str) -> str:
    found = row.get(key)
    if not found or found["mean"] is None:
        return "–"
    interval = f" [{found['low']:.3f}, {found['high']:.3f}]" if found.get("low") is not None else ""
    return f"{found['mean']:.4g} ± {found['deviation']:.2g}{interval}"


def few_labels(
    runs: Runs, name: str, sizes: str, test: str, predictors: tuple[str, ...], scores: tuple[str, ...] = ()
) -> None:
    for predictor in predictors:
        folder = runs.aiop(
            f"{name}-{predictor}-{test}{'-scores' if scores else ''}",
            f"train --predictor {predictor} {runs.labels(name)} --train {sizes} --seeds {runs.seeds} --test {test} "
            f"--judge-only {'--isomorphic apart' if name == 'nb201' else ''} "
            f"{'--score-columns ' + ','.join(scores) if scores else ''}",
        )
        title = f"{name}, tested on {test}: {predictor}{', with zero-cost scores' if scores else ''}"
        runs.table(title, folder, ("mae", "spearman", "kendall"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices="AZD")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--predictors", default="gp,gnn", help="to judge")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    runs = Runs(given.data, given.out, given.seeds)
    predictors = tuple(given.predictors.split(","))
    parts = {
        "A": lambda: [few_labels(runs, "nb201", SIZES, test, predictors) for test in ("all", "rest")],
        "Z": lambda: few_labels(
            runs, "nb201", SIZES, "all", predictors, tuple(f"zc_{name}_cifar10" for name in PROXIES)
        ),
        "D": lambda: few_labels(runs, "ofa", "20,100,500", "rest", predictors),
    }
    for name, part in parts.items():
        if given.only in (None, name):
            part()


if __name__ == "__main__":
    main()
