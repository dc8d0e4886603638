"""Traces every model of timm and torchvision and the OFA families with pose and detection heads, and compares counts.

Usage: python benchmarks/zoo.py [--out zoo.jsonl] [--only 'timm:*vit*'] [--every 10] [--workers 2] [--retry-failed]

Each model is one line of JSON, appended when it is done: a killed sweep goes on where it
stopped. Models run in a process of their own that is ended after ``--limit-s``.
"""

import argparse
import json
import multiprocessing
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from threading import local

import numpy as np

from aiop_core.plugins import PluginRegistry

ARCHITECTURES = 30
"""How many of each family."""

SPAWN = multiprocessing.get_context("spawn")


def targets() -> list[tuple[str, str]]:
    """Every (source, name)."""
    registry = PluginRegistry()
    found = [(zoo, name) for zoo in ("timm", "torchvision") for name in registry.create("zoo", zoo).names()]
    for name in ("ofa_pn", "ofa_mbv3", "ofa_resnet"):
        specs = [a.spec for a in registry.create("family", name).sample(ARCHITECTURES, seed=0)]
        found += [(source, spec) for source in (name, f"{name}+hpe2d", f"{name}+detector") for spec in specs]
    return found


def serve(pipe) -> None:
    """Measure what comes through ``pipe`` until it closes."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch
    from zoo_model import measure

    torch.set_num_threads(1)
    with suppress(EOFError):
        while True:
            (source, name), counted = pipe.recv()
            pipe.send(measure(source, name, counted))


class Workers(local):
    """Each thread's own process; one that dies or takes too long is replaced."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s, self.process = limit_s, None

    def measure(self, target: tuple[str, str], counted: dict) -> dict:
        """What the process says of a model, or how it ended."""
        if self.process is None:
            self.pipe, theirs = SPAWN.Pipe()
            self.process = SPAWN.Process(target=serve, args=(theirs,), daemon=True)
            self.process.start()
            theirs.close()
        failure = f"TimeoutError: more than {self.limit_s:g} s"
        try:
            self.pipe.send((target, counted))
            if self.pipe.poll(self.limit_s):
                return self.pipe.recv()
        except (EOFError, OSError):
            failure = "its process died"
        self.process.kill()
        self.process = None
        return {"source": target[0], "name": target[1], "stage": "process", "error": failure}


def load(path: Path) -> dict[tuple[str, str], dict]:
    """The last result of each model; a line that a kill cut short is left out."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[(row["source"], row["name"])] = row
    return found


def is_clean(row: dict) -> bool:
    """Traced, every operation known, invariants kept, parameters those that have a gradient."""
    return "nodes" in row and not row["unknown"] and not row.get("problems") and row["params"] == row.get("params_used")


def part(row: dict) -> str:
    """The line of the table that a model belongs to."""
    if row["source"] != "torchvision":
        return row["source"]
    from torchvision import models

    kinds = {"segmentation": models.segmentation, "detection": models.detection}
    return next(
        (f"torchvision {k}" for k, m in kinds.items() if row["name"] in models.list_models(module=m)),
        "torchvision classification",
    )


def compared(rows: list[dict], *columns: str) -> str:
    """In how many models another counter has our MACs, by its last column that is there; extremes of ours / theirs."""
    pairs = [(r["macs"], next((r[c] for c in reversed(columns) if r.get(c)), None)) for r in rows]
    ratios = np.array([ours / theirs for ours, theirs in pairs if theirs])
    if not len(ratios):
        return "–"
    return f"{(abs(ratios - 1) < 1e-9).sum()}/{len(ratios)} ({ratios.min():.3f}–{ratios.max():.3f})"


def table(rows: list[dict]) -> str:
    """What was measured, by source, as a markdown table."""
    groups = defaultdict(list)
    for row in rows:
        groups[part(row)].append(row)
    columns = [
        "source", "models", "traced", "no unknown op", "invariants kept", "parameters equal",
        "MACs: torch", "torch, of the input", "fvcore", "thop", "nodes, median (max)", "graphs/s",
    ]  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, all_of in groups.items():
        traced = [r for r in all_of if "nodes" in r]
        nodes = [r["nodes"] for r in traced] or [0]
        cells = [
            name,
            len(all_of),
            len(traced),
            sum(not r["unknown"] for r in traced),
            sum(not r.get("problems", [""]) for r in traced),
            sum(r["params"] == r.get("params_used") for r in traced),
            compared(traced, "macs_torch"),
            compared(traced, "macs_torch", "macs_torch_input"),
            compared(traced, "macs_fvcore"),
            compared(traced, "macs_thop"),
            f"{np.median(nodes):.0f} ({max(nodes)})",
            f"{len(traced) / max(sum(r['seconds'] for r in traced), 1e-9):.1f}",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def failures(rows: list[dict]) -> str:
    """What is not clean, grouped by cause."""
    causes = defaultdict(list)
    for row in rows:
        name = f"{row['source']}:{row['name']}"
        if "error" in row:
            causes[f"{row['stage']}: {row['error']}"].append(name)
        for operation in row.get("unknown", ()):
            causes[f"unknown operation {operation}"].append(name)
        if row.get("problems"):
            causes[f"invariant: {row['problems'][0]}"].append(name)
        if "params_used" in row and row["params"] != row["params_used"]:
            kind = "too few" if row["params"] < row["params_used"] else "too many"
            causes[f"parameters {kind} on the graph"].append(
                f"{name} (graph {row['params']}, with gradient {row['params_used']}, module {row['params_module']})"
            )
        theirs = row.get("macs_torch_input", row.get("macs_torch"))
        if theirs and abs(row["macs"] / theirs - 1) > 1e-9:
            causes["MACs differ from those that torch counts of the input"].append(
                f"{name} ({row['macs'] / theirs:.6f})"
            )
    ordered = sorted(causes.items(), key=lambda item: -len(item[1]))
    return "\n\n".join(f"### {cause}: {len(names)}\n\n{', '.join(sorted(names))}" for cause, names in ordered)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("zoo.jsonl"), help="results, appended to")
    parser.add_argument("--only", default="*", help="a pattern of source:name, e.g. 'timm:*vit*'")
    parser.add_argument("--every", type=int, default=1, help="each how many-th model")
    parser.add_argument("--limit", type=int, help="at most that many models")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--limit-s", type=float, default=300, help="seconds that a model may take")
    parser.add_argument("--retry-failed", action="store_true", help="measure again what is not clean")
    parser.add_argument("--counts", type=Path, help="an earlier sweep: take thop's and fvcore's counts from there")
    parser.add_argument("--failures", type=Path, help="write what is not clean, by cause")
    args = parser.parse_args()
    known = load(args.out)
    wanted = [t for t in targets() if fnmatch(":".join(t), args.only)][:: args.every]
    todo = [t for t in wanted if t not in known or (args.retry_failed and not is_clean(known[t]))][: args.limit]
    earlier = load(args.counts) if args.counts else {}
    counts = {t: {k: v for k, v in row.items() if "thop" in k or "fvcore" in k} for t, row in earlier.items()}
    workers = Workers(args.limit_s)
    with args.out.open("a", encoding="utf-8") as out, ThreadPoolExecutor(args.workers) as pool:
        for done, job in enumerate(
            as_completed([pool.submit(workers.measure, t, counts.get(t, {})) for t in todo]), start=1
        ):
            row = job.result()
            known[(row["source"], row["name"])] = row
            out.write(json.dumps(row) + "\n")
            out.flush()
            print(f"{done}/{len(todo)} {row['source']}:{row['name']} {row.get('error', row.get('nodes'))}", flush=True)
    rows = [known[t] for t in wanted if t in known]
    print("\n" + table(rows))
    if args.failures:
        args.failures.write_text(f"# What is not clean\n\n{table(rows)}\n\n{failures(rows)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
