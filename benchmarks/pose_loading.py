"""Reading images against the network's work, and memory over epochs, on Leeds Sports Pose Extended.

    python benchmarks/pose_loading.py DATA --images 400 --size 256

DATA holds lsp_extended/. Nothing is kept in memory, so that every image is read each time. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from aiop_core.contracts import silent
from aiop_core.plugins import PluginRegistry
from aiop_task_hpe.augment import Change, Strength, cut
from aiop_task_hpe.training import fit


def resident_mb() -> float:
    """Memory of this process, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def rate(images: int, work: object) -> tuple[float, float]:
    """Images a second, and cores that were busy."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return images / wall, cpu / wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    registry = PluginRegistry()
    family = registry.create("family", "ofa_pn")
    options = {"data": "lsp_extended", "data_dir": given.data, "input_size": given.size, "cache_mb": 0}
    strength, generator = Strength(0.5, 0.25, 30.0, 0.2), torch.Generator().manual_seed(0)
    print("| what | images/s | cores busy |\n|---|---|---|")
    for workers in given.workers:
        store = registry.create("task", "hpe2d", options | {"workers": workers}).stores[0]
        order = np.arange(min(given.images, len(store)))

        def read(store=store, order=order) -> None:
            for _ in store.batches(order, given.batch):
                pass

        def augmented(store=store, order=order) -> None:
            for patches in store.batches(order, given.batch):
                cut(patches, Change.draw(len(patches), strength, generator), given.size)

        for name, work in (("read and cut out", read), ("and augment", augmented)):
            print("| {}, {} threads | {:.0f} | {:.2f} |".format(name, workers, *rate(len(order), work)), flush=True)
    task = registry.create("task", "hpe2d", options | {"workers": max(given.workers), "epochs": 1})
    model = task.model(family.backbone(family.sample(1, seed=0)[0])).eval()
    images = torch.randn(given.batch, 3, given.size, given.size)
    with torch.no_grad():
        print("| ofa_pn forward | {:.1f} | {:.2f} |".format(*rate(given.batch, lambda: model(images))), flush=True)
    few = registry.create("task", "hpe2d", options | {"input_size": 96, "cache_mb": 0, "epochs": 1})
    model = few.model(family.backbone(family.sample(1, seed=0)[0]))
    print("\nResident memory after each epoch of training at 96 pixels:", end="", flush=True)
    for epoch in range(4):
        fit(model, few.stores[0], few.settings, seed=epoch, device="cpu", progress=silent)
        print(f" {resident_mb():.0f} MB", end="", flush=True)
    print()


if __name__ == "__main__":
    main()
