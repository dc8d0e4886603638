"""Whether a detector of the task detectron2 can learn its training images by heart: box AP on the same images.

    python benchmarks/overfit_detection.py DATA OUT --iterations 800

DATA holds ``annotations/instances_train2017.json`` and ``images/train2017/``, such as 32 images of COCO.
Prints Markdown, a row every so many steps. Killed in between, it goes on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from aiop_core.plugins import PluginRegistry

OVERRIDES = (
    "INPUT.RANDOM_FLIP none INPUT.MIN_SIZE_TRAIN ({0},) INPUT.MIN_SIZE_TEST {0} INPUT.MAX_SIZE_TRAIN {1} "
    "INPUT.MAX_SIZE_TEST {1} MODEL.ANCHOR_GENERATOR.SIZES [[12],[24],[48],[96],[192]] SOLVER.STEPS () "
    "SOLVER.WARMUP_ITERS 50 SOLVER.LR_SCHEDULER_NAME WarmupCosineLR SOLVER.CLIP_GRADIENTS.ENABLED True "
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE norm SOLVER.CLIP_GRADIENTS.CLIP_VALUE 5.0 "
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE 128 MODEL.RPN.POST_NMS_TOPK_TRAIN 256 MODEL.RPN.POST_NMS_TOPK_TEST 256"
)
"""Small images, none of them changed, so that a training takes an hour instead of a day."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--family", default="ofa_mbv3")
    parser.add_argument("--size", type=int, default=192, help="shorter side of the images, pixels")
    parser.add_argument("--channels", type=int, default=96, help="of the feature pyramid")
    parser.add_argument("--iterations", type=int, default=800)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--every", type=int, default=100, help="steps between two measurements")
    given = parser.parse_args()
    registry = PluginRegistry()
    family = registry.create("family", given.family)
    options = {
        "data": "coco",
        "data_dir": given.data,
        "parts": ("obj_det",),
        "iterations": given.iterations,
        "batch": given.batch,
        "lr": given.lr,
        "freeze": 0,
        "channels": given.channels,
        "workers": 0,
        "overrides": OVERRIDES.format(given.size, 2 * given.size),
    }
    task = registry.create("task", "detectron2", options)
    from aiop_task_detectron2.evaluation import evaluate
    from aiop_task_detectron2.loading import batches
    from aiop_task_detectron2.training import Training

    train = task.data[0]
    (architecture,) = family.sample(1, seed=0)
    detector = task.model(family.backbone(architecture)).detector
    training, seconds, file = Training(detector, task.cfg), 0.0, given.out / "state.pth"
    if file.exists():
        state = torch.load(file, weights_only=True)
        detector.load_state_dict(state["detector"])
        training.optimiser.load_state_dict(state["optimiser"])
        training.scheduler.load_state_dict(state["scheduler"])
        training.step, seconds = state["step"], state["seconds"]
    else:
        given.out.mkdir(parents=True, exist_ok=True)
        print(f"{architecture.spec}, {len(train.records)} images\n")
        print("| step | loss | box AP | AP50 | s |\n|---|---|---|---|---|")
    while training.step < given.iterations:
        started, losses = time.perf_counter(), []
        last = min(training.step + given.every, given.iterations)
        detector.train()
        for batch in batches(train.records, task.cfg, 0, training.step, last):
            losses += [training.learn(batch, 0)]
        seconds += time.perf_counter() - started
        detector.eval()
        found, more = evaluate(detector, train.records, train.name, task.cfg, ("obj_det",), device="cpu")
        row = [f"{100 * found['obj_det_AP']:.1f}", f"{100 * more.get('bbox/AP50', 0.0):.1f}", f"{seconds:.0f}"]
        print(f"| {training.step} | {sum(losses) / len(losses):.3f} | {' | '.join(row)} |", flush=True)
        state = {
            "detector": detector.state_dict(),
            "optimiser": training.optimiser.state_dict(),
            "scheduler": training.scheduler.state_dict(),
            "step": training.step,
            "seconds": seconds,
        }
        torch.save(state, file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)


if __name__ == "__main__":
    main()
