"""Graphs per second, traced and composed, and how fast a cache of 10,000 graphs opens.

Usage: python benchmarks/graph_speed.py [--count 50] [--json]
"""

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from aiop_core.contracts import Metric
from aiop_core.graph.model import GraphSet
from aiop_core.graph.trace import trace
from aiop_core.plugins import PluginRegistry
from aiop_core.records.cache import GraphCache

RESEARCH_CODE_S = {"ofa_pn": 1.5, "ofa_mbv3": 2.1, "ofa_resnet": 2.4}
"""Seconds a graph of the AIO-P research code through a TensorFlow session, median, idle machine of the same kind."""

CACHED = 10_000


def per_second(job, items) -> float:
    """How many items a second, the first one left out as warm-up."""
    job(items[0])
    started = time.perf_counter()
    for item in items:
        job(item)
    return len(items) / (time.perf_counter() - started)


def family_speeds(name: str, count: int) -> dict:
    family = PluginRegistry().create("family", name)
    architectures = family.sample(count, seed=0)
    with torch.device("meta"):
        networks = [family.network(a) for a in architectures]
    graphs = [family.graph(a, family.input_hw) for a in architectures]
    traced = [trace(n, (3, *family.input_hw)) for n in networks[:5]]
    assert [t.fingerprint for t in traced] == [g.fingerprint for g in graphs[:5]]
    found = {
        "nodes": round(float(np.mean([len(g) for g in graphs]))),
        "traced_per_s": per_second(lambda n: trace(n, (3, *family.input_hw)), networks),
        "composed_per_s": per_second(lambda a: family.graph(a, family.input_hw), architectures),
    }
    for way in ("traced", "composed"):
        found[f"{way}_times_research_code"] = found[f"{way}_per_s"] * RESEARCH_CODE_S[name]
    return found


def cache_speed() -> dict:
    family = PluginRegistry().create("family", "ofa_mbv3")
    graphs = [family.graph(a, family.input_hw) for a in family.sample(500, seed=0)]
    graphs = GraphSet.of([graphs[i % len(graphs)] for i in range(CACHED)])
    names = [str(i) for i in range(CACHED)]
    cache = GraphCache.of(graphs, np.linspace(0, 1, CACHED), names, names, Metric("m"), {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graphs.safetensors"
        started = time.perf_counter()
        cache.save(path)
        saved = time.perf_counter()
        GraphCache.load(path)
        loaded = time.perf_counter()
        return {
            "graphs": CACHED,
            "megabytes": path.stat().st_size / 1e6,
            "save_s": saved - started,
            "load_s": loaded - saved,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=50, help="networks of each family")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    families = {name: family_speeds(name, args.count) for name in RESEARCH_CODE_S}
    result = {
        "machine": f"{platform.machine()}, torch {torch.__version__}",
        "families": families,
        "cache": cache_speed(),
    }
    if args.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{'family':<12}{'nodes':>7}{'traced/s':>10}{'× research':>12}{'composed/s':>12}{'× research':>12}")
    for name, f in families.items():
        print(
            f"{name:<12}{f['nodes']:>7}{f['traced_per_s']:>10.1f}{f['traced_times_research_code']:>12.0f}"
            f"{f['composed_per_s']:>12.0f}{f['composed_times_research_code']:>12.0f}"
        )
    c = result["cache"]
    print(f"cache of {c['graphs']:,} graphs ({c['megabytes']:.0f} MB): saved in {c['save_s']:.2f} s", end="")
    print(f", loaded in {c['load_s']:.2f} s")


if __name__ == "__main__":
    main()
