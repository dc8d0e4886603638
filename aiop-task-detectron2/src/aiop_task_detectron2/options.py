"""Every knob of the task. ``None`` means *as the data want it*, which :mod:`aiop_task_detectron2.config` says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aiop_core.options import option

PARTS = ("obj_det", "inst_seg", "sem_seg", "pan_seg")
"""What can be trained and measured; each is a metric without its measure."""

SYNTHETIC, COCO = "synthetic", "coco"


@dataclass(frozen=True)
class Detectron2Options:
    """Options of ``detectron2``."""

    data: str = option(
        SYNTHETIC, "synthetic, coco, or two data sets of detectron2's catalogue: that to train on, that to measure on"
    )
    data_dir: Path | None = option(
        None, "coco: folder that holds coco/, or is it; by default what DETECTRON2_DATASETS names", runtime=True
    )
    cache_dir: Path | None = option(
        None, "where drawn images and prepared masks are kept; by default the user's cache", runtime=True
    )
    modules: tuple[str, ...] = option((), "Python modules to import first, such as one that registers data sets")
    train_images: int = option(320, "synthetic: images to train on", minimum=2)
    val_images: int = option(128, "synthetic: images to measure on", minimum=1)
    data_seed: int = option(0, "synthetic: another seed is another world of images", minimum=0)
    parts: tuple[str, ...] = option(
        PARTS,
        "what to train and measure: obj_det alone is Faster R-CNN, with inst_seg Mask R-CNN, sem_seg alone semantic "
        "FPN, and pan_seg or more of them PanopticFPN",
        choices=PARTS,
    )
    input_size: int | None = option(
        None, "height and width that graphs are traced at, pixels; of drawn images also their size", minimum=32
    )
    config_file: Path | None = option(None, "a config file of detectron2 (yaml), over the paper's values")
    overrides: str = option("", "keys of detectron2's config, over all else: 'KEY VALUE KEY VALUE …'")
    iterations: int | None = option(None, "steps of an individual label's training (SOLVER.MAX_ITER)", minimum=1)
    batch: int | None = option(None, "images per step, over all GPUs (SOLVER.IMS_PER_BATCH)", minimum=1)
    lr: float | None = option(None, "highest learning rate (SOLVER.BASE_LR)", minimum=1e-9)
    freeze: int | None = option(
        None, "leave the weights of the body's first levels as they are; real data 2, synthetic 0", minimum=0
    )
    channels: int | None = option(None, "width of the feature pyramid", minimum=8)
    head_widths: tuple[int, ...] = option(
        (), "zero-pad the backbone's levels to these channels, for a head shared over varying widths"
    )
    box_proposals: int | None = option(
        None, "windows that the graph's box head reads; by default RPN.POST_NMS_TOPK_TEST", minimum=1
    )
    mask_proposals: int | None = option(
        None, "windows that the graph's mask head reads; by default TEST.DETECTIONS_PER_IMAGE", minimum=1
    )
    save_every: int | None = option(
        None,
        "steps between two checkpoints of a label's training, kept in cache_dir until it is measured; 1000",
        minimum=1,
        runtime=True,
    )
    gpus: int = option(1, "GPUs to train one architecture on", minimum=1, runtime=True)
    workers: int | None = option(None, "processes that read images; real data 4, synthetic 0", minimum=0, runtime=True)
