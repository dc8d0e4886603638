"""The four metrics: perfect answers give 1, none at all give 0, and nothing is printed."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from aiop_core.errors import DataError, LabelError
from aiop_task_detectron2.options import PARTS

NAMES = {"obj_det": "obj_det_AP", "inst_seg": "inst_seg_AP", "sem_seg": "sem_seg_mIoU", "pan_seg": "pan_seg_PQ"}


@pytest.fixture
def cfg(detectron2, quick):
    from aiop_task_detectron2.config import settings_of

    return settings_of(quick())


@pytest.fixture
def val(detectron2, quick):
    from aiop_task_detectron2.data import open_data

    return open_data(quick())[1]


def measured(detector, val, cfg, parts=PARTS, records=None):
    from aiop_task_detectron2.evaluation import evaluate

    return evaluate(detector, val.records if records is None else records, val.name, cfg, parts, device="cpu")


class Oracle(nn.Module):
    """Answers with what is annotated."""

    def __init__(self, val):
        super().__init__()
        self.val = val

    def forward(self, images):
        return [
            self.answer(next(r for r in self.val.records if r["image_id"] == image["image_id"])) for image in images
        ]

    def answer(self, record):
        from detectron2.structures import BitMasks, Boxes, BoxMode, Instances
        from pycocotools import mask

        size = record["height"], record["width"]
        found = Instances(size)
        things = record["annotations"]
        boxes = [BoxMode.convert(t["bbox"], t["bbox_mode"], BoxMode.XYXY_ABS) for t in things]
        masks = [_decoded(t["segmentation"], size, mask) for t in things]
        found.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
        found.pred_masks = BitMasks(torch.tensor(np.array(masks).reshape(-1, *size)).bool()).tensor
        found.pred_classes = torch.tensor([t["category_id"] for t in things], dtype=torch.int64)
        found.scores = torch.ones(len(things))
        stuff = np.array(Image.open(record["sem_seg_file_name"])).astype(np.int64)
        classes = len(self.val.metadata.stuff_classes)
        logits = nn.functional.one_hot(torch.tensor(np.where(stuff == 255, 0, stuff)), classes).permute(2, 0, 1).float()
        return {"instances": found, "sem_seg": logits, "panoptic_seg": self.panoptic(record)}

    def panoptic(self, record):
        """The segments that are annotated, their classes counted as the heads count them."""
        import json

        from panopticapi.utils import rgb2id

        content = json.loads(Path(self.val.metadata.panoptic_json).read_text())
        annotation = next(a for a in content["annotations"] if a["image_id"] == record["image_id"])
        ids = rgb2id(np.array(Image.open(Path(self.val.metadata.panoptic_root) / annotation["file_name"])))
        stuff = np.array(Image.open(record["sem_seg_file_name"]))
        things = sorted(c["id"] for c in content["categories"] if c["isthing"])
        segments = []
        for segment in annotation["segments_info"]:
            name, number = segment["category_id"], segment["id"]
            place = things.index(name) if name in things else int(stuff[ids == number][0])
            segments.append({"id": number, "isthing": name in things, "category_id": place})
        return torch.tensor(ids.astype(np.int64)), segments


def _decoded(segmentation, size, mask):
    if isinstance(segmentation, list):
        segmentation = mask.merge(mask.frPyObjects(segmentation, *size))
    return mask.decode(segmentation)


class Blind(Oracle):
    """Finds nothing, and takes all stuff for the first class."""

    def answer(self, record):
        answer = super().answer(record)
        answer["instances"] = answer["instances"][:0]
        answer["sem_seg"] = torch.zeros_like(answer["sem_seg"])
        answer["panoptic_seg"] = (torch.zeros_like(answer["panoptic_seg"][0]), [])
        return answer


def test_perfect_answers_are_one(val, cfg):
    values, details = measured(Oracle(val), val, cfg)
    assert values == pytest.approx(dict.fromkeys(NAMES.values(), 1.0), abs=1e-6)
    assert {key.split("/")[0] for key in details} == {"bbox", "segm", "sem_seg", "panoptic_seg"}
    assert details["bbox/AP50"] == pytest.approx(1)
    assert details["panoptic_seg/PQ_st"] == pytest.approx(1)
    assert all(0 <= value <= 1 for value in details.values())


def test_nothing_found_is_zero_and_not_undefined(val, cfg):
    values, _ = measured(Blind(val), val, cfg)
    assert list(values) == list(NAMES.values())
    assert (values["obj_det_AP"], values["inst_seg_AP"], values["pan_seg_PQ"]) == (0.0, 0.0, 0.0)
    assert 0 < values["sem_seg_mIoU"] < 0.5  # of the first class there are pixels


@pytest.mark.parametrize("parts", [("obj_det",), ("inst_seg",), ("sem_seg",), ("pan_seg",), ("obj_det", "sem_seg")])
def test_only_the_parts_are_measured(val, cfg, parts):
    values, details = measured(Oracle(val), val, cfg, parts)
    assert list(values) == [NAMES[part] for part in parts]
    assert all(value == pytest.approx(1) for value in values.values())
    assert any(key.startswith("segm/") for key in details) == ("inst_seg" in parts)


def test_nothing_is_printed_and_loggers_are_as_before(val, cfg, capfd):
    names = ("detectron2", "fvcore", "iopath", None)
    before = [(logging.getLogger(name).level, logging.getLogger(name).handlers[:]) for name in names]
    measured(Oracle(val), val, cfg)
    assert capfd.readouterr() == ("", "")
    assert [(logging.getLogger(name).level, logging.getLogger(name).handlers) for name in names] == before


def test_the_global_generator_stays_and_evaluation_mode_too(val, cfg):
    detector = Oracle(val).train()
    before = torch.get_rng_state()
    measured(detector, val, cfg)
    assert torch.equal(torch.get_rng_state(), before)
    assert detector.training


class Full(Oracle):
    def answer(self, record):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")


def test_a_gpu_without_memory_is_one_line(val, cfg):
    with pytest.raises(
        LabelError, match=r"too little memory to measure; lower TEST.DETECTIONS_PER_IMAGE or .* \(--over"
    ):
        measured(Full(val), val, cfg)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_one_line(val, cfg, tmp_path, workers):
    cfg.DATALOADER.NUM_WORKERS = workers
    path = tmp_path / "cut.jpg"
    path.write_bytes(Path(val.records[0]["file_name"]).read_bytes()[:300])
    damaged = [val.records[0] | {"file_name": str(path)}]
    with pytest.raises(DataError, match=r"cut.jpg cannot be read with its annotations \(.+\); repair or") as caught:
        measured(Oracle(val), val, cfg, records=damaged)
    assert "\n" not in str(caught.value)


@pytest.fixture
def spoilt(coco, quick):
    """``spoilt(change)``: data that a change was made to after they were opened."""
    from aiop_task_detectron2.data import open_data

    val = open_data(quick(data="coco", data_dir=coco))[1]

    def apply(change):
        change(val)
        return val

    return apply


def test_classes_may_have_any_numbers(coco, quick, cfg):
    import json

    from aiop_task_detectron2.data import open_data

    ids = {1: 90, 5: 0}  # a thing that is the last then, and the first class of stuff
    for path in (coco / "coco" / "annotations").iterdir():
        content = json.loads(path.read_text())
        for category in content["categories"]:
            category["id"] = ids.get(category["id"], category["id"])
        for annotation in content["annotations"]:
            for part in annotation.get("segments_info", [annotation]):
                part["category_id"] = ids.get(part["category_id"], part["category_id"])
        path.write_text(json.dumps(content))
    val = open_data(quick(data="coco", data_dir=coco))[1]
    assert measured(Oracle(val), val, cfg)[0] == pytest.approx(dict.fromkeys(NAMES.values(), 1.0), abs=1e-6)


@pytest.mark.parametrize(
    ("part", "root", "said"),
    [
        (
            "sem_seg",
            "sem_seg_root",
            r"\d+.jpg cannot be read with its annotations \(.*No such file.*panoptic_stuff_val2017",
        ),
        ("pan_seg", "panoptic_root", r"aiop_val2017_\w+ cannot be measured on \(.*No such file.*\); mend that and run"),
    ],
)
def test_missing_masks_are_one_line(spoilt, cfg, part, root, said):
    val = spoilt(lambda val: None)
    perfect = {record["image_id"]: Oracle(val).answer(record) for record in val.records}
    detector = Oracle(val)
    detector.answer = lambda record: perfect[record["image_id"]]
    min(Path(val.metadata.get(root)).iterdir()).unlink()
    with pytest.raises(DataError, match=said) as caught:
        measured(detector, val, cfg, (part,))
    assert "\n" not in str(caught.value)


def test_images_without_any_known_pixel_have_no_miou(spoilt, cfg):
    def unknown(val):
        for path in Path(val.metadata.sem_seg_root).iterdir():
            Image.fromarray(np.full((64, 64), 255, np.uint8)).save(path)

    val = spoilt(unknown)
    with np.errstate(all="ignore"), pytest.raises(LabelError, match="sem_seg not defined on aiop_val2017_"):
        measured(Oracle(val), val, cfg, ("sem_seg",))


def test_images_without_things_have_no_panoptic_quality(spoilt, cfg):
    import json

    def without_things(val):
        path = Path(val.metadata.panoptic_json)
        content = json.loads(path.read_text())
        things = {c["id"] for c in content["categories"] if c["isthing"]}
        for annotation in content["annotations"]:
            annotation["segments_info"] = [s for s in annotation["segments_info"] if s["category_id"] not in things]
        path.write_text(json.dumps(content))

    val = spoilt(without_things)
    with pytest.raises(
        LabelError, match=r"pan_seg is not defined on .* none of its images has a thing, or none has stuff"
    ):
        measured(Blind(val), val, cfg, ("pan_seg",))
