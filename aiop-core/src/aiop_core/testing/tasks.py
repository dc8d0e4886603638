"""What every task promises. Training runs with the task's own options: give small ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from aiop_core.contracts import Backbone, Task, silent
from aiop_core.graph.ops import Op
from aiop_core.testing.promise import require
from aiop_core.testing.randomness import global_seed

MakeBackbone = Callable[[], Backbone]

_TOLERANCE = 1e-5
"""How far two equal trainings may drift apart: sums in threads are not associative."""


def metrics_have_unique_names(task: Task, _: MakeBackbone) -> None:
    """There is at least one metric, and none has another's name."""
    names = [metric.name for metric in task.metrics]
    require(bool(names), "metrics is empty; a task measures at least one thing")
    require(all(names) and len(set(names)) == len(names), f"metrics have the names {names}; each needs its own")


def data_are_prepared(task: Task, _: MakeBackbone) -> None:
    """``prepare`` finds the data of the given options, or says how to get them."""
    task.prepare()


def model_holds_the_backbone(task: Task, backbone: MakeBackbone) -> None:
    """``model`` gives a module whose parameters include all of the backbone's."""
    from torch import nn

    body: Any = backbone()
    model = task.model(body)
    require(isinstance(model, nn.Module), f"model gave a {type(model).__name__}, expected a torch.nn.Module")
    held = {id(parameter) for parameter in model.parameters()}
    missing = [name for name, parameter in body.named_parameters() if id(parameter) not in held]
    require(not missing, f"the model lacks the backbone's {missing[:1]}, so that training leaves it as it is")


def graphs_belong_to_the_metrics(task: Task, backbone: MakeBackbone) -> None:
    """``graphs`` has one graph for each metric, at the task's input size, of this model."""
    model = task.model(backbone())
    graphs = task.graphs(model)
    names = [metric.name for metric in task.metrics]
    require(sorted(graphs) == sorted(names), f"graphs has the keys {sorted(graphs)}, the metrics are {sorted(names)}")
    held = sum(parameter.numel() for parameter in model.parameters())
    for name, graph in graphs.items():
        height, _, width = graph.resolution[graph.op == Op.Input][0][:3].tolist()
        hw = tuple(task.input_hw)
        require((height, width) == hw, f"graph '{name}' starts from {(height, width)}, input_hw is {hw}")
        counted = int(graph.params.sum())
        require(0 < counted <= held, f"graph '{name}' counts {counted} parameters, the model has {held}")


def evaluation_gives_exactly_the_metrics(task: Task, backbone: MakeBackbone) -> None:
    """``evaluate`` gives a finite number for each metric, in [0, 1] where it is a fraction."""
    task.prepare()
    values = task.evaluate(task.model(backbone()), device="cpu")
    names = sorted(metric.name for metric in task.metrics)
    require(sorted(values) == names, f"evaluate gave {sorted(values)}, the metrics are {names}")
    for metric in task.metrics:
        value = float(values[metric.name])
        require(abs(value) < float("inf"), f"evaluate gave {metric.name} = {value}; metrics must be finite")
        inside = metric.unit != "fraction" or 0 <= value <= 1
        require(inside, f"evaluate gave {metric.name} = {value:g}; a fraction lies between 0 and 1")


def evaluation_repeats_and_leaves_the_model_alone(task: Task, backbone: MakeBackbone) -> None:
    """``evaluate`` gives the same values again, and changes no weight or statistic."""
    task.prepare()
    model = task.model(backbone())
    before = copy.deepcopy(model.state_dict())
    with global_seed(1):
        first = dict(task.evaluate(model, device="cpu"))
    changed = first_difference(before, model.state_dict(), 0.0)
    require(not changed, f"evaluate changed {changed}; is the model in evaluation mode?")
    with global_seed(2):
        again = dict(task.evaluate(model, device="cpu"))
    require(first == again, f"evaluate gave {first}, and then {again}")


def training_is_seeded_and_changes_the_weights(task: Task, backbone: MakeBackbone) -> None:
    """One seed trains a model to the same weights, whatever the global random state."""
    task.prepare()
    start = task.model(backbone())
    trained = []
    for seed in (1, 2):
        model = copy.deepcopy(start)
        with global_seed(seed):
            task.train(model, seed=7, device="cpu", progress=silent)
        trained.append(model.state_dict())
    require(bool(first_difference(start.state_dict(), trained[0], 0.0)), "train left every weight as it was")
    changed = first_difference(trained[0], trained[1], _TOLERANCE)
    require(not changed, f"two trainings with seed 7 differ, first in {changed}; use a generator made from the seed")


def first_difference(before: dict[str, Any], after: dict[str, Any], tolerance: float) -> str:
    """The first entry that differs, or nothing."""
    import torch

    for name, value in before.items():
        if not torch.allclose(value.double(), after[name].double(), rtol=tolerance, atol=tolerance, equal_nan=True):
            return name
    return ""


TASK_CHECKS: tuple[Callable[[Task, MakeBackbone], None], ...] = (
    metrics_have_unique_names,
    data_are_prepared,
    model_holds_the_backbone,
    graphs_belong_to_the_metrics,
    evaluation_gives_exactly_the_metrics,
    evaluation_repeats_and_leaves_the_model_alone,
    training_is_seeded_and_changes_the_weights,
)
"""In the order in which an author meets them."""
