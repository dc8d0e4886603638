"""Scenes as files of a split: images, panoptic and stuff masks, and the two json files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from aiop_coco.outlines import outlines
from aiop_coco.panoptic import id_colors, stuff_mask, write_png
from aiop_coco.scenery import STUFF
from aiop_coco.scenes import Scene, Segment
from aiop_coco.shapes import THINGS
from aiop_core.records.whole_files import replacing

QUALITY = 92
"""Of JPEG files, which detectron2 expects beside panoptic annotations."""

_COLORS = ((220, 20, 60), (0, 200, 80), (255, 179, 0), (165, 42, 142), (70, 130, 180), (0, 90, 120), (130, 110, 60))

CATEGORIES: list[dict[str, Any]] = [
    {"id": number, "name": name, "supercategory": kind, "isthing": int(kind == "thing"), "color": color}
    for number, (name, kind, color) in enumerate(
        zip(THINGS + STUFF, ["thing"] * len(THINGS) + ["stuff"] * len(STUFF), _COLORS, strict=True), start=1
    )
]
"""As in panoptic json files."""

_IDS = {category["name"]: category["id"] for category in CATEGORIES}
_STUFF_VALUES = {name: value for value, name in enumerate(STUFF, start=1)}


class SplitWriter:
    """Writes a split in detectron2's layout below ``folder``, each file in one piece.

    Args:
        folder: ``coco/``.
        name: of the split.
        version: of what is drawn, for the json files.
        again: replace images that are there; else they stay.
    """

    def __init__(self, folder: Path, name: str, *, version: int, again: bool) -> None:
        self.folder, self.name, self.version, self.again = folder, name, version, again
        self.images: list[dict[str, Any]] = []
        self.instances: list[dict[str, Any]] = []
        self.panoptic: list[dict[str, Any]] = []
        for place in (name, f"panoptic_{name}", f"panoptic_stuff_{name}", "annotations"):
            (folder / place).mkdir(parents=True, exist_ok=True)

    def add(self, image_id: int, scene: Scene) -> None:
        """Write the images of a scene, and remember its annotations."""
        stem, (height, width) = f"{image_id:012d}", scene.ids.shape
        self._write_images(stem, scene)
        self.images.append({"id": image_id, "file_name": f"{stem}.jpg", "height": height, "width": width})
        segments = [{"id": segment.id, **_described(segment)} for segment in scene.segments]
        self.panoptic.append({"image_id": image_id, "file_name": f"{stem}.png", "segments_info": segments})
        for segment in scene.segments:
            if segment.is_thing:
                loops = outlines(segment.mask)
                place = {"id": len(self.instances) + 1, "image_id": image_id}
                polygons = [[value for corner in loop for value in corner] for loop in loops]
                self.instances.append({**place, **_described(segment), "segmentation": polygons})

    def finish(self) -> None:
        """Write the json files."""
        things = [category for category in CATEGORIES if category["isthing"]]
        for kind, entries, categories in (
            ("instances", self.instances, things),
            ("panoptic", self.panoptic, CATEGORIES),
        ):
            content = {
                "info": {"description": "drawn by aiop", "version": str(self.version)},
                "images": self.images,
                "annotations": entries,
                "categories": categories,
            }
            with replacing(self.folder / "annotations" / f"{kind}_{self.name}.json") as part:
                part.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")

    def _write_images(self, stem: str, scene: Scene) -> None:
        last = self.folder / f"panoptic_stuff_{self.name}" / f"{stem}.png"
        if last.exists() and not self.again:
            return
        with replacing(self.folder / self.name / f"{stem}.jpg") as part:
            Image.fromarray(scene.image).save(part, format="JPEG", quality=QUALITY, subsampling=0)
        write_png(self.folder / f"panoptic_{self.name}" / f"{stem}.png", id_colors(scene.ids))
        write_png(last, stuff_mask(scene.ids, {s.id: _STUFF_VALUES.get(s.name, 0) for s in scene.segments}))


def _described(segment: Segment) -> dict[str, Any]:
    return {"category_id": _IDS[segment.name], "area": segment.area, "bbox": segment.box, "iscrowd": 0}
