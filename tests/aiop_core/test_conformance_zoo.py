"""The kit passes the reference zoo, and each check fails on one that is broken in just that way."""

import re

import pytest
from torch import nn

from aiop_core.contracts import Registration
from aiop_core.testing import check_zoo, conformance_tests, reference, run_checks
from aiop_core.testing.reference import ReferenceZoo
from aiop_core.testing.zoos import ZOO_CHECKS


@conformance_tests("zoo", reference.aiop_register_zoos()[0])
def test_reference_zoo(check):
    check()


class Empty(ReferenceZoo):
    def names(self):
        return []


class NamesTwice(ReferenceZoo):
    def names(self):
        return ["wren", "robin", "wren"]


class NamesWithSpaces(ReferenceZoo):
    specs = ReferenceZoo.specs | {"great tit": "d1-w4-k3"}


class GivesASizeForAShape(ReferenceZoo):
    def input_shape(self, name):
        return 64


class GivesClasses(ReferenceZoo):
    def module(self, name):
        return nn.Identity


class KeepsItsModels(ReferenceZoo):
    def __init__(self):
        self.kept = {name: super(KeepsItsModels, self).module(name) for name in self.names()}

    def module(self, name):
        return self.kept[name]


class TellsTheWrongShape(ReferenceZoo):
    def input_shape(self, name):
        return (1, 64, 64)


class Hollow(nn.Module):
    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        return x


class HoldsHollowModels(ReferenceZoo):
    def module(self, name):
        return Hollow()


BROKEN = [
    (Empty, "names are distinct words", r"names\(\) is empty"),
    (NamesTwice, "names are distinct words", "holds 'wren' twice"),
    (NamesWithSpaces, "names are distinct words", "'great tit'"),
    (GivesASizeForAShape, "every model has an input shape", r"input_shape\('wren'\) is 64, expected positive"),
    (GivesClasses, "models are modules and new each time", r"module\('wren'\) is a type, expected a torch module"),
    (KeepsItsModels, "models are modules and new each time", r"module\('wren'\) gives one module twice"),
    (TellsTheWrongShape, "models can be traced", r"'wren' at input_shape\('wren'\): Pooled cannot be traced"),
    (HoldsHollowModels, "models can be traced", "'wren' uses no parameter"),
]


@pytest.mark.parametrize(("broken", "name", "message"), BROKEN)
def test_a_broken_zoo_fails(broken, name, message):
    result = next(result for result in check_zoo(broken()) if result.name == name)
    assert not result.passed
    assert re.search(message, result.message), result.message


def test_every_check_can_fail():
    assert {name for _, name, _ in BROKEN} == {check.__name__.replace("_", " ") for check in ZOO_CHECKS}


def test_a_rule_must_be_callable():
    good, bad = (Registration("torch:a::b", "A toy.", lambda _, rule=rule: rule) for rule in (lambda r, c: None, 5))
    assert all(result.passed for result in run_checks("operation", good))
    failed = [result for result in run_checks("operation", bad) if not result.passed]
    assert [(r.name, r.message) for r in failed] == [
        ("a rule can be called", "create gave a int; a rule is a function of (recorder, call)")
    ]
