"""The kit passes the reference family, and each check fails on one that is broken in just that way."""

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from aiop_core.contracts import Level
from aiop_core.errors import SpecError
from aiop_core.graph.build import GraphBuilder
from aiop_core.testing import check_family, conformance_tests, reference
from aiop_core.testing.families import FAMILY_CHECKS
from aiop_core.testing.reference import Chain, ReferenceFamily


@conformance_tests("family", reference.aiop_register_families()[0])
def test_reference_family(check):
    check()


class RepeatsItself(ReferenceFamily):
    def sample(self, count, *, seed):
        return super().sample(1, seed=seed) * count


class GivesTooFew(ReferenceFamily):
    def sample(self, count, *, seed):
        return super().sample(count, seed=seed)[:2]


class IgnoresTheSeed(ReferenceFamily):
    def sample(self, count, *, seed):
        return super().sample(count, seed=0)


class SamplesFromTheGlobalState(ReferenceFamily):
    def sample(self, count, *, seed):
        return super().sample(count, seed=int(torch.randint(1000, ())))


class SeedsNumpy(ReferenceFamily):
    def sample(self, count, *, seed):
        np.random.seed(seed)
        return super().sample(count, seed=seed)


class ParsesAnotherArchitecture(ReferenceFamily):
    def parse(self, spec):
        return replace(super().parse(spec), width=8)


@dataclass(frozen=True, eq=False)
class ChainById(Chain):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


class ComparesById(ReferenceFamily):
    def all(self):
        return [ChainById(c.depth, c.width, c.kernel) for c in super().all()]

    def parse(self, spec):
        found = ReferenceFamily().parse(spec)
        return ChainById(found.depth, found.width, found.kernel)


class TakesAnySpec(ReferenceFamily):
    def parse(self, spec):
        try:
            return super().parse(spec)
        except SpecError:
            return self.all()[0]


class RaisesTheWrongError(ReferenceFamily):
    def parse(self, spec):
        depth, width, kernel = (int(part[1:]) for part in spec.split("-"))
        return Chain(depth, width, kernel)


class DeclaresAnotherWidth(ReferenceFamily):
    def backbone(self, architecture):
        body = super().backbone(architecture)
        body.levels = tuple(Level(level.channels + 1, level.stride) for level in body.levels)
        return body


class ListsTheCoarsestFirst(ReferenceFamily):
    def backbone(self, architecture):
        body = super().backbone(architecture)
        body.levels = body.levels[::-1]
        return body


class RoundsDown(ReferenceFamily):
    def backbone(self, architecture):
        body = super().backbone(architecture)
        forward = body.forward
        body.forward = lambda images: forward(images[..., : images.shape[-2] // 32 * 32, : images.shape[-1] // 32 * 32])
        return body


class GivesFeatureMaps(ReferenceFamily):
    def network(self, architecture):
        return nn.Sequential(nn.Conv2d(3, 4, 3))


class GivesNan(ReferenceFamily):
    def network(self, architecture):
        network = super().network(architecture)
        nn.init.constant_(network.classifier.bias, torch.nan)
        return network


class ForgetsTheActivations(ReferenceFamily):
    def graph(self, architecture, input_hw):
        builder = GraphBuilder()
        node = builder.input(input_hw)
        for position in range(5 * architecture.depth):
            stride = 2 if position % architecture.depth == 0 else 1
            node = builder.batch_norm(builder.conv(node, architecture.width, architecture.kernel, stride=stride))
        builder.output(builder.linear(builder.mean(node), 10))
        return builder.build()


class KnowsOneSizeOnly(ReferenceFamily):
    def graph(self, architecture, input_hw):
        return super().graph(architecture, self.input_hw)


class LosesParameters(ReferenceFamily):
    def graph(self, architecture, input_hw):
        graph = super().graph(architecture, input_hw)
        return replace(graph, params=graph.params // 2)


class SpreadsOverTheCount(ReferenceFamily):
    def sample(self, count, *, seed):
        found = super().sample(count, seed=seed)
        return found[::-1]


BROKEN = [
    (SpreadsOverTheCount, "a larger sample begins with the smaller", r"but sample\(4\) begins with"),
    (RepeatsItself, "sampling gives as many distinct architectures as asked", "gave one architecture twice"),
    (GivesTooFew, "sampling gives as many distinct architectures as asked", "gave 2 architectures"),
    (IgnoresTheSeed, "sampling is seeded", "eight seeds all gave"),
    (SamplesFromTheGlobalState, "sampling is seeded", "and the next time"),
    (SamplesFromTheGlobalState, "sampling touches no global random state", "random state of torch"),
    (SeedsNumpy, "sampling touches no global random state", "random state of numpy"),
    (ParsesAnotherArchitecture, "specs round trip", "has the spec"),
    (ComparesById, "specs round trip", "compare and hash by spec"),
    (TakesAnySpec, "malformed specs are refused", "instead of raising SpecError"),
    (RaisesTheWrongError, "malformed specs are refused", "raised ValueError instead of SpecError"),
    (DeclaresAnotherWidth, "backbone levels are as declared", r"declared is \(2, \d, "),
    (ListsTheCoarsestFirst, "backbone levels are as declared", "list the finest first"),
    (RoundsDown, "backbone levels are as declared", r"level 0 of a \(95, 65\) input"),
    (GivesFeatureMaps, "network gives one row of class scores", r"expected \(1, classes\)"),
    (GivesNan, "network gives one row of class scores", "not finite"),
    (ForgetsTheActivations, "graph equals the traced network", "more in the traced graph: ReLU"),
    (KnowsOneSizeOnly, "graph equals the traced network", r"at \(96, 128\): 1 more in the composed graph: Input"),
    (LosesParameters, "graph counts every parameter", r"counts \d+ parameters, the module has"),
]


@pytest.mark.parametrize(("broken", "name", "message"), BROKEN, ids=lambda v: v.__name__ if isinstance(v, type) else "")
def test_broken_family_fails_its_check(broken, name, message):
    result = next(result for result in check_family(broken()) if result.name == name)
    assert not result.passed
    assert re.search(message, result.message), result.message
    assert "\n" not in result.message


def test_every_check_of_a_family_has_one_that_fails_it():
    assert {f.__name__.replace("_", " ") for f in FAMILY_CHECKS} == {name for _, name, _ in BROKEN}


def test_reference_family_refuses_to_give_more_than_it_has():
    with pytest.raises(SpecError, match="13 distinct architectures asked, the reference family has 12"):
        ReferenceFamily().sample(13, seed=0)
