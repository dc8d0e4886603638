"""One model of the sweep in ``zoo.py``: traced, checked, and counted by others."""

import logging
import re
import time
import warnings

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from aiop_core.graph.check import problems
from aiop_core.graph.cost import cost
from aiop_core.graph.trace import trace
from aiop_core.plugins import PluginRegistry
from aiop_zoo_torch.detectors import fixed_part

SMALL_MACS, SMALL_PARAMS = 5e9, 60e6
"""Up to which size fvcore, which computes with real tensors, is asked."""

PRODUCTS = ("conv", "linear", "addmm", "matmul", "bmm", "baddbmm", "einsum")
"""What fvcore counts besides, such as normalisation, is no product with weights."""

REGISTRY = PluginRegistry()


def make(source: str, name: str):
    """The module on the meta device, where it can be made there, and its input shape.

    A source is a zoo, a family, or a family and a task as ``family+task``; the task ``detector``
    is torchvision's Faster R-CNN on the family's feature levels.
    """
    if source in REGISTRY.names("zoo"):
        zoo = REGISTRY.create("zoo", source)
        shape = zoo.input_shape(name)
        try:
            with torch.device("meta"):
                return zoo.module(name).eval(), shape
        except Exception:  # noqa: BLE001 - its constructor looks at the contents of tensors
            return zoo.module(name).eval().to("meta"), shape
    family_name, _, task_name = source.partition("+")
    family = REGISTRY.create("family", family_name)
    architecture = family.parse(name)
    with torch.device("meta"):
        if not task_name:
            return family.network(architecture).eval(), (3, *family.input_hw)
        if task_name == "detector":
            return detector(family.backbone(architecture)), (3, 640, 640)
        task = REGISTRY.create("task", task_name)
        return task.model(family.backbone(architecture)).eval(), (3, *task.input_hw)


class Pyramid(nn.Module):
    """The feature levels of a body, brought to 256 channels from the coarsest to the finest."""

    out_channels = 256

    def __init__(self, body) -> None:
        super().__init__()
        self.body = body
        self.pyramid = FeaturePyramidNetwork([level.channels for level in body.levels], self.out_channels)

    def forward(self, images):
        """Levels by name, the finest first."""
        return self.pyramid({str(i): level for i, level in enumerate(self.body(images))})


def detector(body):
    """Faster R-CNN on a body of any family, without what depends on the contents of an image."""
    levels = len(body.levels)
    anchors = AnchorGenerator(tuple((32 * 2**i,) for i in range(levels)), ((0.5, 1.0, 2.0),) * levels)
    windows = MultiScaleRoIAlign([str(i) for i in range(levels)], output_size=7, sampling_ratio=2)
    return fixed_part(FasterRCNN(Pyramid(body), 91, rpn_anchor_generator=anchors, box_roi_pool=windows)).eval()


class ConstantProducts(TorchDispatchMode):
    """Adds up torch's FLOPs of the products that do not depend on the input, such as position encodings."""

    def __init__(self, image: torch.Tensor) -> None:
        super().__init__()
        self.flops, self._flowing = 0, {id(image): image}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if any(id(t) in self._flowing for t in tree_leaves((args, kwargs))):
            self._flowing |= {id(t): t for t in tree_leaves(result)}
        elif func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


def torch_counts(module, shape, macs: int) -> dict:
    """What torch says of cost, and how many parameters an output has a gradient for.

    ``macs_torch_input`` leaves out the products of constants, where the MACs are not ours.
    """
    parameters = [p.requires_grad_() for p in module.parameters() if p.is_floating_point()]
    image = torch.empty(1, *shape, device="meta")
    with FlopCounterMode(display=False) as counter:
        results = module(image)
    outputs = [t for t in tree_leaves(results) if isinstance(t, torch.Tensor) and t.requires_grad]
    gradients = torch.autograd.grad([t.sum() for t in outputs], parameters, allow_unused=True)
    used = sum(p.numel() for p, g in zip(parameters, gradients, strict=True) if g is not None)
    counted = counter.get_total_flops() / 2
    found = {"macs_torch": counted, "params_used": used}
    if counted != macs:
        with ConstantProducts(image) as constants:
            module(image)
        found["macs_torch_input"] = counted - constants.flops / 2
    return found


def other_counts(module, shape, row: dict) -> dict:
    """What thop says, and fvcore of small models."""
    import thop
    from fvcore.nn import FlopCountAnalysis

    counted = {"macs_thop": thop.profile(module, (torch.empty(1, *shape, device="meta"),), verbose=False)[0]}
    if row["macs"] <= SMALL_MACS and row["params_module"] <= SMALL_PARAMS:
        real = module.to_empty(device="cpu")
        for tensor in [*real.parameters(), *real.buffers()]:  # indices among them must be valid
            tensor.detach().zero_()
        logging.getLogger("fvcore").setLevel(logging.ERROR)
        with torch.no_grad():
            analysis = FlopCountAnalysis(real, torch.zeros(1, *shape)).tracer_warnings("none")
            analysis = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            counted["macs_fvcore"] = sum(analysis.by_operator()[name] for name in PRODUCTS)
            counted["fvcore_skips"] = sorted(analysis.unsupported_ops())
    return counted


def measure(source: str, name: str, counted: dict) -> dict:
    """One row of results; what fails is a text in it. ``counted`` is what thop and fvcore said before."""
    row: dict = {"source": source, "name": name}
    stage = "make"
    try:
        module, shape = make(source, name)
        row |= {"shape": list(shape), "params_module": sum(p.numel() for p in module.parameters())}
        stage = "trace"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            started = time.perf_counter()
            graph = trace(module, shape, rules=REGISTRY.operation_rules("torch"))
            row["seconds"] = time.perf_counter() - started
        said = [str(w.message) for w in caught if w.category.__name__ == "UnknownOperationWarning"]
        row["unknown"] = sorted({m[1] for text in said if (m := re.search(r"([\w.]+::[\w.:]+)", text))})
        row |= {"nodes": len(graph), "macs": cost(graph).macs, "params": cost(graph).params}
        stage = "check"
        row["problems"] = problems(graph)[:5]
        stage = "torch counts"
        fresh = make(source, name)[0]  # modules that cache in evaluation mode have been run without gradients
        row |= torch_counts(fresh, shape, row["macs"])
        stage = "others count"
        row |= counted or other_counts(module, shape, row)
    except Exception as error:  # noqa: BLE001 - a stranger's module may raise anything
        text = str(error).strip().splitlines() or [""]
        row |= {"stage": stage, "error": f"{type(error).__name__}: {text[0][:300]}"}
    return row
