"""Detectron2's own tools build a body of aiop from a yaml."""

import importlib
from pathlib import Path

import pytest
import torch

import aiop_core.plugins
from aiop_core.errors import OptionError, PluginError, SpecError, UnknownNameError

YAML = """
MODEL:
  META_ARCHITECTURE: PanopticFPN
  MASK_ON: true
  DEVICE: cpu
  BACKBONE: {NAME: build_aiop_backbone}
  AIOP: {FAMILY: reference, SPEC: d2-w8-k3, FREEZE: 1, CHANNELS: 16}
  ANCHOR_GENERATOR: {SIZES: [[32], [64], [128], [256], [512]]}
  RPN: {IN_FEATURES: [p2, p3, p4, p5, p6]}
  ROI_HEADS: {NAME: StandardROIHeads, IN_FEATURES: [p2, p3, p4, p5]}
  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 1, FC_DIM: 32, POOLER_RESOLUTION: 7}
  SEM_SEG_HEAD: {NAME: SemSegFPNHAdaptedHead, CONVS_DIM: 32}
"""


@pytest.fixture
def configured(detectron2, sources, monkeypatch, tmp_path):
    """``configured(*overrides)``: the config of the yaml above, where the reference family is the only one."""
    from detectron2.config import get_cfg

    from aiop_task_detectron2.registration import add_aiop_config, register

    monkeypatch.setattr(aiop_core.plugins, "installed_sources", lambda: sources)
    (tmp_path / "model.yaml").write_text(YAML)

    def make(*overrides):
        register()
        register()  # again does nothing
        cfg = get_cfg()
        add_aiop_config(cfg)
        cfg.merge_from_file(str(tmp_path / "model.yaml"))
        cfg.merge_from_list(list(overrides))
        return cfg

    return make


def test_detectron2_builds_a_body_from_plain_text(configured):
    from detectron2.config import CfgNode
    from detectron2.modeling import build_model

    cfg = configured()
    assert CfgNode.load_cfg(cfg.dump()).MODEL.AIOP.SPEC == "d2-w8-k3"
    model = build_model(cfg).eval()
    body = model.backbone.body
    assert len(body.levels) > 1
    assert not any(p.requires_grad for p in body.stages[0].parameters())
    assert all(p.requires_grad for p in body.stages[1:].parameters())
    assert type(model.sem_seg_head).__name__ == "SemSegFPNHAdaptedHead"
    found = model([{"image": torch.zeros(3, 64, 64)}])
    assert found[0]["sem_seg"].shape == (54, 64, 64)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (("MODEL.AIOP.FAMILY", "referense"), UnknownNameError, "unknown family 'referense'; did you mean 'reference'"),
        (("MODEL.AIOP.SPEC", "d9"), SpecError, "'d9' is no chain"),
        (("MODEL.AIOP.SPEC", ""), OptionError, "MODEL.AIOP.FAMILY and MODEL.AIOP.SPEC say which body to build"),
        (("MODEL.AIOP.FAMILY_OPTIONS", ["widht=1"]), OptionError, "unknown option 'family.widht'"),
        (("MODEL.AIOP.FREEZE", 9), OptionError, "freeze is 9"),
        (("MODEL.PIXEL_MEAN", [0.0], "MODEL.PIXEL_STD", [1.0]), OptionError, "PIXEL_MEAN has 1 entries, .* 3 channels"),
    ],
)
def test_what_the_config_lacks_is_told(configured, overrides, error, message):
    from detectron2.modeling import build_backbone

    with pytest.raises(error, match=message):
        build_backbone(configured(*overrides))


def test_a_config_without_the_node_is_told(configured):
    from detectron2.modeling import build_backbone

    cfg = configured()
    del cfg.MODEL["AIOP"]
    with pytest.raises(OptionError, match=r"the config has no MODEL.AIOP; call add_aiop_config"):
        build_backbone(cfg)


def test_a_name_that_others_took_is_told(detectron2, monkeypatch):
    from detectron2.modeling import SEM_SEG_HEADS_REGISTRY

    from aiop_task_detectron2.registration import register

    class Other:
        __module__ = "somebody.elses"

    monkeypatch.setitem(SEM_SEG_HEADS_REGISTRY._obj_map, "SemSegFPNHAdaptedHead", Other)
    with pytest.raises(PluginError, match=r"knows another SemSegFPNHAdaptedHead, of somebody.elses"):
        register()


@pytest.mark.parametrize("name", ["registration", "sem_seg_head", "body", "assembly"])
def test_importing_registers_nothing(detectron2, monkeypatch, name):
    from detectron2.modeling import BACKBONE_REGISTRY, SEM_SEG_HEADS_REGISTRY

    names = {"build_aiop_backbone", "SemSegFPNHAdaptedHead"}
    for registry in (BACKBONE_REGISTRY, SEM_SEG_HEADS_REGISTRY):
        monkeypatch.setattr(registry, "_obj_map", {k: v for k, v in registry if k not in names})
    path = Path(importlib.import_module(f"aiop_task_detectron2.{name}").__file__)
    exec(compile(path.read_text(), path, "exec"), {"__name__": "imported_again"})
    assert not names & {key for registry in (BACKBONE_REGISTRY, SEM_SEG_HEADS_REGISTRY) for key, _ in registry}
