"""What every search space promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from aiop_core.contracts import Family
from aiop_core.errors import ContractError, SpecError
from aiop_core.graph.model import NODE_COLUMNS, Graph
from aiop_core.graph.ops import Op
from aiop_core.testing.promise import require
from aiop_core.testing.randomness import global_seed, no_global_randomness

_COUNT = 3
"""How many architectures the checks draw: few, so that tiny spaces can be checked."""


def _specs(family: Family[Any], seed: int) -> list[str]:
    return [architecture.spec for architecture in family.sample(_COUNT, seed=seed)]


def sampling_gives_as_many_distinct_architectures_as_asked(family: Family[Any]) -> None:
    """``sample`` gives ``count`` architectures, none of them twice."""
    specs = _specs(family, 0)
    require(len(specs) == _COUNT, f"sample({_COUNT}, seed=0) gave {len(specs)} architectures")
    require(len(set(specs)) == _COUNT, f"sample({_COUNT}, seed=0) gave one architecture twice: {specs}")


def sampling_is_seeded(family: Family[Any]) -> None:
    """One seed always gives the same architectures, and seeds differ."""
    with global_seed(1):
        first = _specs(family, 7)
    with global_seed(2):
        again = _specs(family, 7)
    require(first == again, f"seed 7 gave {first}, and the next time {again}")
    drawn = {tuple(_specs(family, seed)) for seed in range(8)}
    require(len(drawn) > 1, f"eight seeds all gave {first}")


def a_larger_sample_begins_with_the_smaller(family: Family[Any]) -> None:
    """``sample(4)`` begins with ``sample(2)``, so that slices fit together and runs can grow."""
    small, large = ([a.spec for a in family.sample(count, seed=0)] for count in (2, 4))
    require(large[:2] == small, f"sample(2) gives {small}, but sample(4) begins with {large[:2]}")


def sampling_touches_no_global_random_state(family: Family[Any]) -> None:
    """``sample`` draws from its own generator."""
    with no_global_randomness("sample"):
        family.sample(_COUNT, seed=0)


def specs_round_trip(family: Family[Any]) -> None:
    """``parse`` reads a spec back as an equal architecture; specs are single lines."""
    for architecture in family.sample(_COUNT, seed=0):
        spec = architecture.spec
        require(len(spec.splitlines()) == 1 and spec == spec.strip(), f"spec {spec!r} is not one trimmed line")
        parsed = family.parse(spec)
        require(parsed.spec == spec, f"parse('{spec}') has the spec '{parsed.spec}'")
        same = parsed == architecture and hash(parsed) == hash(architecture)
        require(same, f"parse('{spec}') is not equal to the architecture it came from; compare and hash by spec")


def malformed_specs_are_refused(family: Family[Any]) -> None:
    """``parse`` raises SpecError, and says what is wrong."""
    spec = family.sample(1, seed=0)[0].spec
    for text in ("", "no such architecture", spec + "?"):
        try:
            parsed = family.parse(text)
        except SpecError as error:
            require(bool(str(error).strip()), f"the SpecError for '{text}' has no message")
        except Exception as error:
            raise ContractError(f"parse('{text}') raised {type(error).__name__} instead of SpecError") from error
        else:
            raise ContractError(f"parse('{text}') gave '{parsed.spec}' instead of raising SpecError")


def backbone_levels_are_as_declared(family: Family[Any]) -> None:
    """The feature maps have the declared channels and strides, whatever the input size."""
    import torch

    architecture = family.sample(1, seed=0)[0]
    backbone: Any = family.backbone(architecture)
    levels = tuple(backbone.levels)
    strides = [level.stride for level in levels]
    require(bool(levels) and strides == sorted(strides), f"level strides {strides}; list the finest first")
    coarsest = strides[-1]
    backbone.eval()
    for hw in ((2 * coarsest, 3 * coarsest), (3 * coarsest - 1, 2 * coarsest + 1)):
        with torch.no_grad():
            maps = backbone(torch.zeros(2, 3, *hw))
        require(len(maps) == len(levels), f"the backbone gave {len(maps)} feature maps for {len(levels)} levels")
        for i, (features, level) in enumerate(zip(maps, levels, strict=True)):
            expected = (2, level.channels, -(-hw[0] // level.stride), -(-hw[1] // level.stride))
            shape = tuple(features.shape)
            require(shape == expected, f"level {i} of a {hw} input has shape {shape}, declared is {expected}")


def network_gives_one_row_of_class_scores(family: Family[Any]) -> None:
    """``network`` maps one image to (1, classes) finite numbers."""
    import torch

    network = family.network(family.sample(1, seed=0)[0]).eval()
    with torch.no_grad():
        scores = network(torch.zeros(1, 3, *family.input_hw))
    shape = tuple(scores.shape)
    require(len(shape) == 2 and shape[0] == 1, f"the network gave shape {shape}, expected (1, classes)")
    require(bool(torch.isfinite(scores).all()), "the network gave scores that are not finite")


def graph_equals_the_traced_network(family: Family[Any]) -> None:
    """``graph`` is, up to the order of nodes, what tracing ``network`` gives, at any input size."""
    from aiop_core.graph.trace import trace

    height, width = family.input_hw
    for architecture in family.sample(_COUNT, seed=0):
        for hw in ((height, width), (height + 32, width + 64)):
            composed, traced = family.graph(architecture, hw), trace(family.network(architecture), (3, *hw))
            if composed.fingerprint != traced.fingerprint:
                raise ContractError(f"graph of '{architecture.spec}' at {hw}: {_difference(composed, traced)}")


def graph_counts_every_parameter(family: Family[Any]) -> None:
    """The parameters on the graph are those of the module that its result depends on."""
    import torch

    for architecture in family.sample(_COUNT, seed=0):
        counted = int(family.graph(architecture, family.input_hw).params.sum())
        network = family.network(architecture).to("meta").eval()
        network(torch.empty(1, 3, *family.input_hw, device="meta")).sum().backward()
        held = sum(p.numel() for p in network.parameters() if p.grad is not None)
        require(counted == held, f"graph of '{architecture.spec}' counts {counted} parameters, the module has {held}")


def _difference(composed: Graph, traced: Graph) -> str:
    """The first kind of node that one graph has more of than the other."""

    def rows(graph: Graph) -> Counter[tuple[str, str]]:
        columns = [name for name in NODE_COLUMNS if name != "op"]
        return Counter(
            (Op(int(op)).name, ", ".join(f"{name} {getattr(graph, name)[i].tolist()}" for name in columns))
            for i, op in enumerate(graph.op)
        )

    ours, theirs = rows(composed), rows(traced)
    for name, more, less in (("composed", ours, theirs), ("traced", theirs, ours)):
        for (op, attributes), count in (more - less).items():
            return f"{count} more in the {name} graph: {op} with {attributes}"
    return "same nodes as the traced graph, but other edges"


FAMILY_CHECKS: tuple[Callable[[Family[Any]], None], ...] = (
    sampling_gives_as_many_distinct_architectures_as_asked,
    sampling_is_seeded,
    a_larger_sample_begins_with_the_smaller,
    sampling_touches_no_global_random_state,
    specs_round_trip,
    malformed_specs_are_refused,
    backbone_levels_are_as_declared,
    network_gives_one_row_of_class_scores,
    graph_equals_the_traced_network,
    graph_counts_every_parameter,
)
"""In the order in which an author meets them."""
