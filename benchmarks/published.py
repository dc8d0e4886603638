"""Accuracy on labels that others published, through aiop's own commands.

    python benchmarks/published.py DATA OUT            # all four; killed in between, it goes on
    python benchmarks/published.py DATA OUT --only A   # one of them

DATA holds nb201.parquet, tnb101_micro.parquet, nb101_500.csv and ofa_mbv3.csv. Prints Markdown.

A  NAS-Bench-201: few labels, tested on all 15,625 cells and on those not learnt from
B  transfer between tasks of TransNAS-Bench-101 micro, zero-shot and with 20 labels
C  transfer between families, zero-shot and with 20 and 50 labels
D  OFA-MobileNetV3 on ImageNet: few labels
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
from pathlib import Path

import pyarrow.compute
from pyarrow import parquet

TASKS = {
    "class_scene": ("valid_top1_pct", "percent"),
    "class_object": ("valid_top1_pct", "percent"),
    "room_layout": ("valid_neg_loss", "loss"),
    "jigsaw": ("valid_top1_pct", "percent"),
    "segmentsemantic": ("valid_pixel_acc_pct", "percent"),
    "normal": ("valid_ssim", "SSIM"),
    "autoencoder": ("valid_ssim", "SSIM"),
}
SIZES = "78,156,469,781,1563"


class Runs:
    """Commands whose results lie in folders; a finished one is not run again."""

    def __init__(self, data: Path, out: Path, seeds: int) -> None:
        self.data, self.out, self.seeds = data, out, seeds

    def labels(self, name: str, task: str = "class_scene") -> str:
        """The flags that name a table of labels."""
        column, unit = TASKS[task]
        table, what = {
            "nb201": ("nb201.parquet", "--family nb201 --label c10_test_200ep_mean --spec-columns arch_str"),
            "nb101": ("nb101_500.csv", "--family nb101 --label val_acc_108ep --spec-columns adjacency,ops"),
            "ofa": ("ofa_mbv3.csv", "--family ofa_mbv3 --width 1.0 --label imagenet_top1_mean --spec-columns ks,e,d"),
            "tnb": (
                "tnb101_micro.parquet",
                f"--family tnb101_micro --family.task {task} --label {task}__{column} --label-unit {unit} "
                "--spec-columns arch_str",
            ),
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

    def without_none(self) -> str:
        """NAS-Bench-201's cells that have no operation ``none``, as a table of its own."""
        path = self.out / "nb201_without_none.parquet"
        table = parquet.read_table(self.data / "nb201.parquet")
        kept = pyarrow.compute.invert(pyarrow.compute.match_substring(table["arch_str"], "none"))
        parquet.write_table(table.filter(kept), path)
        return self.labels("nb201").replace(str(self.data / "nb201.parquet"), str(path))

    def evaluate(self, name: str, predictor: Path, labels: str, sizes: str, more: str = "") -> Path:
        """Few labels of a target, isomorphic networks on one side of each split."""
        return self.aiop(
            name,
            f"evaluate --predictor {shlex.quote(str(predictor))} {labels} --labels {sizes} --seeds {self.seeds} "
            f"--isomorphic together --save none {more}",
        )

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


def few_labels(runs: Runs, name: str, sizes: str, test: str, predictors: tuple[str, ...] = ("gp", "gnn")) -> None:
    for predictor in predictors:
        folder = runs.aiop(
            f"{name}-{predictor}-{test}",
            f"train --predictor {predictor} {runs.labels(name)} --train {sizes} --seeds {runs.seeds} --test {test} "
            f"--judge-only {'--isomorphic apart' if name == 'nb201' else ''}",
        )
        runs.table(f"{name}, tested on {test}: {predictor}", folder, ("mae", "spearman", "kendall"))


def between_tasks(runs: Runs) -> None:
    first = runs.aiop("B-object", f"train --predictor gp {runs.labels('tnb', 'class_object')} --train 500")
    two = runs.aiop(
        "B-object-scene",
        f"adapt --predictor {first}/predictor {runs.labels('tnb', 'class_scene')} --as class_scene",
        "predictor.json",
    )
    three = runs.aiop(
        "B-object-scene-autoencoder",
        f"adapt --predictor {two} {runs.labels('tnb', 'autoencoder')} --as autoencoder",
        "predictor.json",
    )
    targets = [(task, "average", two) for task in ("segmentsemantic", "jigsaw", "normal", "room_layout", "autoencoder")]
    targets += [("segmentsemantic", "class_scene", two), ("segmentsemantic", "average", three)]
    for task, adapter, predictor in targets:
        name = f"B-{task}-{predictor.name[2:]}-{adapter}"
        folder = runs.evaluate(name, predictor, runs.labels("tnb", task), "0,20", f"--adapter {adapter}")
        runs.table(f"{task} from {predictor.name[2:]}, {adapter}", folder, ("mae", "spearman"))


def between_families(runs: Runs) -> None:
    nb101 = runs.aiop("C-nb101", f"train --predictor gp {runs.labels('nb101')} --train 200")
    nb201 = runs.aiop("C-nb201", f"train --predictor gp {runs.labels('nb201')} --train 500")
    both = runs.aiop(
        "C-nb201-nb101",
        f"adapt --predictor {nb201}/predictor {runs.labels('nb101')} --as nb101",
        "predictor.json",
    )
    for name, predictor, labels in (
        ("nb101-nb201", nb101 / "predictor", runs.without_none()),
        ("both-ofa", both, runs.labels("ofa")),
        ("nb201-scene", nb201 / "predictor", runs.labels("tnb", "class_scene")),
        ("nb201-object", nb201 / "predictor", runs.labels("tnb", "class_object")),
    ):
        folder = runs.evaluate(f"C-{name}", predictor, labels, "0,20,50")
        runs.table(name, folder, ("mae", "spearman"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices="ABCD")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--predictors", default="gp,gnn", help="of A and D")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    runs = Runs(given.data, given.out, given.seeds)
    predictors = tuple(given.predictors.split(","))
    parts = {
        "A": lambda: [few_labels(runs, "nb201", SIZES, test, predictors) for test in ("all", "rest")],
        "B": lambda: between_tasks(runs),
        "C": lambda: between_families(runs),
        "D": lambda: few_labels(runs, "ofa", "20,100,500", "rest", predictors),
    }
    for name, part in parts.items():
        if given.only in (None, name):
            part()


if __name__ == "__main__":
    main()
