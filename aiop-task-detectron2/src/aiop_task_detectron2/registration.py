"""Makes bodies of aiop and the paper's semantic head known to detectron2, so that its own tools train them from a yaml.

Nothing happens when this is imported. A config holds plain text only::

    from aiop_task_detectron2 import installed
    installed.require()
    from detectron2.config import get_cfg
    from aiop_task_detectron2.registration import add_aiop_config, register

    register()
    cfg = get_cfg()
    add_aiop_config(cfg)
    cfg.merge_from_file("panoptic.yaml")

where the file says::

    MODEL:
      BACKBONE: {NAME: build_aiop_backbone}
      AIOP: {FAMILY: ofa_mbv3, SPEC: "e3k3,e3k3|…", FAMILY_OPTIONS: ["width=1.2", "weights=official"]}
      PIXEL_MEAN: [123.675, 116.28, 103.53]
      PIXEL_STD: [58.395, 57.12, 57.375]
    INPUT: {FORMAT: RGB}
"""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, SEM_SEG_HEADS_REGISTRY

from aiop_core.errors import OptionError, PluginError
from aiop_core.plugins import PluginRegistry
from aiop_task_detectron2.body import FREEZE, PyramidBody
from aiop_task_detectron2.pyramid import CHANNELS
from aiop_task_detectron2.sem_seg_head import SemSegFPNHAdaptedHead

COLOURS = 3
"""Channels of an image: red, green, blue."""


def register() -> None:
    """Put ``build_aiop_backbone`` and ``SemSegFPNHAdaptedHead`` into detectron2's registries; again does nothing.

    Raises:
        PluginError: if others have taken a name.
    """
    for registry, thing in (
        (BACKBONE_REGISTRY, build_aiop_backbone),
        (SEM_SEG_HEADS_REGISTRY, SemSegFPNHAdaptedHead),
    ):
        if thing.__name__ not in registry:
            registry.register(thing)
        elif registry.get(thing.__name__) is not thing:
            other = registry.get(thing.__name__).__module__
            raise PluginError(
                f"detectron2 knows another {thing.__name__}, of {other}; do not import that in the same process"
            )


def add_aiop_config(cfg: CfgNode) -> None:
    """Give a config the node ``MODEL.AIOP``, by which ``build_aiop_backbone`` knows what to build.

    ``FAMILY`` and ``SPEC`` name the body; ``FAMILY_OPTIONS`` are texts ``NAME=VALUE`` of the
    family's own options, such as its weights; ``FREEZE`` levels do not learn; levels are
    zero-padded to ``WIDTHS`` if there are some; ``CHANNELS`` is the pyramid's width.
    """
    cfg.MODEL.AIOP = CfgNode(
        {"FAMILY": "", "SPEC": "", "FAMILY_OPTIONS": [], "FREEZE": FREEZE, "WIDTHS": [], "CHANNELS": CHANNELS}
    )


def build_aiop_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> PyramidBody:
    """Body and pyramid that ``MODEL.AIOP`` describes.

    Raises:
        OptionError: if the node is not there or incomplete, or does not fit the body.
        UnknownNameError: if no such family is installed.
        SpecError: if the text is no architecture of the family.
    """
    if input_shape.channels != COLOURS:
        raise OptionError(
            f"MODEL.PIXEL_MEAN has {input_shape.channels} entries, but bodies take images of {COLOURS} channels; "
            f"give {COLOURS}"
        )
    if "AIOP" not in cfg.MODEL:
        raise OptionError("the config has no MODEL.AIOP; call add_aiop_config(cfg) before merging a file")
    node = cfg.MODEL.AIOP
    if not node.FAMILY or not node.SPEC:
        raise OptionError("MODEL.AIOP.FAMILY and MODEL.AIOP.SPEC say which body to build; give both")
    options = dict(text.partition("=")[::2] for text in node.FAMILY_OPTIONS)
    family = PluginRegistry().create("family", node.FAMILY, options)
    backbone = family.backbone(family.parse(node.SPEC))
    return PyramidBody(backbone, freeze=node.FREEZE, channels=node.CHANNELS, widths=node.WIDTHS)
