"""Labels of shared heads beside individual ones, as the paper's Table 1, through aiop's own commands.

    python benchmarks/shared_labels.py OUT                           # synthetic images, all three families
    python benchmarks/shared_labels.py OUT --data-dir DATA           # Leeds Sports Pose Extended, at a small size
    python benchmarks/shared_labels.py OUT --families ofa_pn --count 20

For each family: a supernet is trained on the task, since published weights may be out of reach; then the same
bodies are labelled individually, by body swapping and by latent sampling. Killed in between, it goes on.
Prints Markdown: mean PCK, and Spearman with individual labels [95 % bootstrap interval over bodies].
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import time
from pathlib import Path

import numpy as np

FAMILIES = ("ofa_pn", "ofa_mbv3", "ofa_resnet")

DRAWN = "--val-images 1500 --epochs 3"
"""More images to measure on than by default, so that less of a label is chance, and three epochs instead of one."""

REAL = (
    "--data lsp_extended --input-size 64 --task.head skip --filters 64 --flip-test false --recalibrate 4 --epochs 4 "
    "--batch 16 --task.lr 5e-3 --schedule cosine --warmup 0.15 --scale 0.1 --rotation 10 --sigma 1"
)
"""What makes the real images feasible on two cores."""

SHARED = (
    "--latents.mirrored true --latents.per-stratum 2 --latents.hold 8 --head.epochs 20 --head.batch 32 "
    "--shared.epochs 1 --shared.lr 1e-3"
)
"""Both heads take the same number of steps; bodies of a supernet are fine-tuned at a low rate."""


def aiop(command: str) -> None:
    """Run a command; its time is kept, over all runs that it took, since most go on where they stopped."""
    print(f"$ aiop {command}", flush=True)
    subprocess.run(["aiop", *shlex.split(command)], check=True, stdout=subprocess.DEVNULL)


def compare(family: str, out: Path, task: str, count: int, steps: int, more: str) -> dict:
    """The results of one family."""
    weights, results = out / family / "supernet", out / family / "agreement" / "results.json"
    started = time.time()
    if not (weights / "supernet.pth").exists():
        aiop(f"supernet train --family {family} {task} --supernet.steps {steps} --supernet.networks 1 --out {weights}")
    trained = time.time()
    if not results.exists():
        task += f" --count {count} {SHARED} {more}"
        aiop(f"agreement --family {family} --weights {weights} {task} --out {results.parent}")
    print(f"{family}: supernet {trained - started:.0f} s, labels {time.time() - trained:.0f} s in this run", flush=True)
    return json.loads(results.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--steps", type=int, default=400, help="of training each supernet")
    parser.add_argument("--more", default="", help="of aiop agreement, such as '--epochs 3'")
    given = parser.parse_args()
    task = f"--task hpe2d {REAL} --data-dir {given.data_dir}" if given.data_dir else f"--task hpe2d {DRAWN}"
    found = {f: compare(f, given.out, task, given.count, given.steps, given.more) for f in given.families}
    print("\n| family | bodies | individual | by | mean PCK, % | Spearman | Kendall |\n|---|---|---|---|---|---|---|")
    for family, result in found.items():
        means = {way: 100 * np.mean(values) for way, values in result["labels"].items()}
        for way, scores in result["scores"].items():
            ranks = " | ".join("{:.3f} [{:.3f}, {:.3f}]".format(*scores[key]) for key in ("spearman", "kendall"))
            first = f"| {family} | {len(result['specs'])} | {means['individual']:.1f}"
            print(f"{first} | {way} | {means[way]:.1f} | {ranks} |")
        for pair, (gain, low, high) in result["spearman gains"].items():
            if pair.startswith("sample"):
                print(f"| | | | {pair} | | {gain:+.3f} [{low:+.3f}, {high:+.3f}] | |")


if __name__ == "__main__":
    main()
