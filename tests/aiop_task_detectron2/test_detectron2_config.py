"""Detectron2's config as the options ask for it: the paper's values, a config file, options, overrides."""

import pytest
import yaml

from aiop_core.errors import OptionError
from aiop_task_detectron2 import config
from aiop_task_detectron2.config import LEFT, PAPER, SMALL, boxes, input_size, semantic, settings_of
from aiop_task_detectron2.options import Detectron2Options

pytestmark = pytest.mark.usefixtures("detectron2")


def settings(**options):
    return settings_of(Detectron2Options(**options))


def at(cfg, key):
    for name in key.split("."):
        cfg = cfg[name]
    return cfg


def plain(value):
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def test_real_data_have_the_papers_values():
    """``COCO_Detect_FPN_Adapted_OFA.yml`` and ``COCO_PanSeg_FPN_Adapted_Head.yml`` of the paper's code."""
    cfg = settings(data="coco")
    for key, value in PAPER.items():
        assert plain(at(cfg, key)) == plain(value), key
    solver = cfg.SOLVER
    assert (solver.IMS_PER_BATCH, solver.BASE_LR, solver.MAX_ITER, solver.STEPS) == (16, 0.02, 90000, (60000, 80000))
    assert cfg.INPUT.MIN_SIZE_TRAIN == (640, 672, 704, 736, 768, 800)
    assert (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST) == (800, 1333)
    assert cfg.MODEL.RPN.IN_FEATURES == ["p2", "p3", "p4", "p5", "p6"]
    assert cfg.MODEL.RPN.POST_NMS_TOPK_TEST == 1000
    assert cfg.MODEL.SEM_SEG_HEAD.LOSS_WEIGHT == 0.5
    assert cfg.DATALOADER.NUM_WORKERS == 4
    assert input_size(Detectron2Options(data="coco")) == 1024


def test_drawn_images_have_small_values_and_their_own_size():
    cfg = settings(input_size=64)
    for key, value in SMALL.items():
        assert plain(at(cfg, key)) == plain(value), key
    assert (cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST) == ((64,), 64)
    assert cfg.DATALOADER.NUM_WORKERS == 0
    assert input_size(Detectron2Options()) == 96


@pytest.mark.parametrize(
    ("parts", "things", "masks", "stuff"),
    [
        (("obj_det",), True, False, False),
        (("inst_seg",), True, True, False),
        (("sem_seg",), False, False, True),
        (("pan_seg",), True, True, True),
        (("obj_det", "sem_seg"), True, True, True),
    ],
)
def test_parts_decide_about_masks_and_images_without_annotations(parts, things, masks, stuff):
    cfg = settings(parts=parts)
    assert (boxes(parts), cfg.MODEL.MASK_ON, semantic(parts)) == (things, masks, stuff)
    assert (not stuff) == cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS


def test_each_source_of_a_value_is_over_the_one_before(tmp_path):
    file = tmp_path / "more.yaml"
    file.write_text("SOLVER: {BASE_LR: 0.3, MAX_ITER: 7, IMS_PER_BATCH: 3, WARMUP_ITERS: 2}\nMODEL: {MASK_ON: false}\n")
    cfg = settings(config_file=file, iterations=9, batch=5, overrides="SOLVER.IMS_PER_BATCH 6 INPUT.RANDOM_FLIP 'none'")
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.WARMUP_ITERS) == (0.3, 2)
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.IMS_PER_BATCH) == (9, 6)
    assert cfg.INPUT.RANDOM_FLIP == "none"
    assert cfg.MODEL.MASK_ON


def test_a_config_file_has_its_bases(tmp_path):
    (tmp_path / "base.yaml").write_text("SOLVER: {MAX_ITER: 7, BASE_LR: 0.3}\n")
    (tmp_path / "top.yaml").write_text("_BASE_: base.yaml\nSOLVER: {MAX_ITER: 8}\n")
    solver = settings(config_file=tmp_path / "top.yaml").SOLVER
    assert (solver.MAX_ITER, solver.BASE_LR) == (8, 0.3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("SOLVER: {MAX_ITR: 7}\n", "no config of .*SOLVER.MAX_ITR"),
        ("SOLVER: {MAX_ITER: many}\n", "no config of .*MAX_ITER"),
        ("SOLVER: [unclosed\n", "no config of .* line"),
        ("just words\n", "no config of "),
        ("", "no config of "),
        ("_BASE_: elsewhere.yaml\n", "elsewhere.yaml"),
        ("OUTPUT_DIR: !!python/object/apply:os.getcwd []\n", "no config of .* could not determine a constructor"),
        (b"\xff\xfe\x00", "cannot be read|no config of"),
    ],
)
def test_a_file_that_is_no_config_is_one_line(tmp_path, content, said):
    file = tmp_path / "odd.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(OptionError, match=rf"config_file .*odd\.yaml .*({said})") as caught:
        settings(config_file=file)
    assert "\n" not in str(caught.value)


def test_a_missing_config_file_is_one_line(tmp_path):
    with pytest.raises(OptionError, match=r"config_file .*none\.yaml .*(does not exist|No such file)") as caught:
        settings(config_file=tmp_path / "none.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("SOLVER.MAX_ITER", "are 1 words; give pairs of KEY VALUE"),
        ("SOLVER.MAX_ITER 'x", "cannot be split into words: No closing quotation"),
        ("SOLVER.MAX_ITR 3", "config has no key SOLVER.MAX_ITR; did you mean SOLVER.MAX_ITER?"),
        ("SOLVER 3", "config has no key SOLVER"),
        ("xyz 3", r"config has no key xyz$"),
        ("SOLVER.MAX_ITER many", "many is no value of SOLVER.MAX_ITER: "),
    ],
)
def test_odd_overrides_are_explained(overrides, said):
    with pytest.raises(OptionError, match=said):
        settings(overrides=overrides)


@pytest.mark.parametrize("key", LEFT)
def test_what_the_task_does_not_do_is_refused(key):
    other = "RepeatFactorTrainingSampler" if isinstance(LEFT[key], str) else "True"
    with pytest.raises(OptionError, match=rf"{key} is .*{other}.*, which this task does not do; leave it"):
        settings(overrides=f"{key} {other}")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("SOLVER.MAX_ITER 0", "SOLVER.MAX_ITER is 0; give at least 1"),
        ("SOLVER.IMS_PER_BATCH 0", "SOLVER.IMS_PER_BATCH is 0; give at least 1"),
        ("DATALOADER.NUM_WORKERS -1", "DATALOADER.NUM_WORKERS is -1; give at least 0"),
        ("SOLVER.LR_SCHEDULER_NAME Sawtooth", "cannot plan the learning rate: .*Sawtooth; change SOLVER"),
        ("INPUT.FORMAT XYZ", "INPUT.FORMAT is 'XYZ'; give RGB, BGR or YUV-BT.601"),
        ("INPUT.FORMAT L", "INPUT.FORMAT is 'L'; give RGB"),
        ("MODEL.PIXEL_MEAN [1.0]", r"MODEL.PIXEL_MEAN is \[1.0\]; give 3 numbers, one a colour"),
        ("MODEL.ROI_HEADS.NAME CascadeROIHeads", "MODEL.ROI_HEADS.NAME is 'CascadeROIHeads', but this task knows"),
        ("MODEL.ROI_HEADS.NUM_CLASSES 7", "NUM_CLASSES has no effect here, as it follows from the annotations; leave"),
        ("MODEL.BACKBONE.FREEZE_AT 1", "FREEZE_AT has no effect here, as it follows from --family and --freeze"),
        ("DATASETS.TRAIN ('a',)", "DATASETS.TRAIN has no effect here, as it follows from --data"),
    ],
)
def test_what_would_end_a_training_is_told_before(overrides, said):
    with pytest.raises(OptionError, match=said):
        settings(overrides=overrides)


def test_semantic_segmentation_alone_has_no_box_heads_to_know():
    settings(overrides="MODEL.ROI_HEADS.NAME CascadeROIHeads", parts=("sem_seg",))


def test_cropping_wants_shapely(monkeypatch):
    monkeypatch.setattr(config, "find_spec", lambda name: name != "shapely" or None)
    settings(overrides="INPUT.CROP.TYPE absolute")
    with pytest.raises(
        OptionError, match=r"INPUT\.CROP cuts outlines with shapely, which is not installed: pip install"
    ):
        settings(overrides="INPUT.CROP.ENABLED True")


def test_parts_must_not_be_empty():
    with pytest.raises(OptionError, match="no part of the task is asked for; give some of obj_det"):
        settings(parts=())


def test_a_whole_dumped_config_can_be_given_back(tmp_path):
    file = tmp_path / "all.yaml"
    first = settings(data="coco", iterations=7)
    file.write_text(first.dump())
    again = settings(data="coco", config_file=file)
    assert yaml.safe_load(again.dump()) == yaml.safe_load(first.dump())
    assert again.SOLVER.MAX_ITER == 7
