"""A fitted regression from blocks of features to labels: scaling, target, processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from aiop_core.contracts import Progress, silent
from aiop_core.metrics import kendall
from aiop_predictor_gp.options import GpOptions
from aiop_predictor_gp.process import Kernel, Process, fit_kernel
from aiop_predictor_gp.reading import Table
from aiop_predictor_gp.targets import Target

CLIP = 6.0
"""Standardised features farther from the mean than so many deviations say no more."""

LINEAR: Mapping[str, float] = {"readings": 0.0}
"""Blocks of which a linear kernel is expected to explain more than of others: the logarithm of its variance."""

USUAL_LINEAR = -2.0


@dataclass(frozen=True)
class Scale:
    """Standardises the columns of a block that vary in training."""

    columns: np.ndarray[Any, Any]
    mean: np.ndarray[Any, Any]
    deviation: np.ndarray[Any, Any]

    @classmethod
    def of(cls, values: np.ndarray[Any, Any]) -> Scale:
        """Of training values; NaN is no value."""
        mean, deviation = np.zeros((2, values.shape[1]))
        for i, column in enumerate(values.T):  # one by one: of all together, each step would be another copy
            known = column[np.isfinite(column)].astype(np.float64)
            if len(known):
                mean[i], deviation[i] = known.mean(), known.std()
        columns = np.flatnonzero(deviation > 1e-9 * np.maximum(np.abs(mean), 1e-3))
        return cls(columns, mean[columns], deviation[columns])

    def __call__(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Standardised and clipped; the mean where nothing is known."""
        found = values[:, self.columns].astype(np.float64)
        found -= self.mean
        found /= self.deviation
        np.clip(found, -CLIP, CLIP, out=found)
        found[np.isnan(found)] = 0
        return found


class Learner:
    """Learns labels from a table; several processes where one cannot hold all labels."""

    def __init__(self, scales: Mapping[str, Scale], target: Target, processes: Sequence[Process]) -> None:
        self.scales, self.target, self.processes = dict(scales), target, list(processes)

    @classmethod
    def fit(
        cls,
        table: Table,
        labels: Float[np.ndarray, " n"],
        options: GpOptions,
        *,
        seed: int,
        device: str,
        progress: Progress = silent,
    ) -> Learner:
        """Fit to ``labels``, the kernel on some of them and the processes on all."""
        order = np.random.default_rng(seed).permutation(len(labels))[: options.capacity * options.processes]
        shares = max(1, -(-len(order) // options.capacity))
        scales = {name: scale for name, values in table.items() if len((scale := Scale.of(values[order])).columns)}
        blocks = _tensors(scales, table, device, order)
        blocks = blocks or [torch.zeros((len(order), 1), dtype=torch.float64, device=device)]
        linear = [LINEAR.get(name, USUAL_LINEAR) for name in scales] or [USUAL_LINEAR]
        kinds = {"rank": Target.rank, "raw": Target.raw}
        chosen = kinds if options.target == "auto" else {options.target: kinds[options.target]}
        found: list[Learner] = []
        for done, make in enumerate(chosen.values()):
            target = make(labels[order])
            scores = torch.as_tensor(target.transform(labels[order]), device=device)
            kernel = fit_kernel(blocks, scores, linear)
            first = Process(kernel, [block[::shares] for block in blocks], scores[::shares])
            found.append(cls(scales, target, [first]))
            progress(done + 1, len(chosen) + shares - 1)
        best = max(found, key=cls.left_out_tau)
        scores = torch.as_tensor(best.target.transform(labels[order]), device=device)
        for share in range(1, shares):
            part = slice(share, None, shares)
            best.processes.append(Process(best.processes[0].kernel, [b[part] for b in blocks], scores[part]))
            progress(len(chosen) + share, len(chosen) + shares - 1)
        return best

    def left_out_tau(self) -> float:
        """Kendall's tau of the labels of the first process and what the others make of each; -1 if all are equal."""
        first = self.processes[0]
        return float(np.nan_to_num(kendall(first.targets.cpu().numpy(), first.left_out().cpu().numpy()), nan=-1.0))

    def predict(self, table: Table) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Mean and variance of each graph's target; processes count by how sure they are."""
        device = str(self.processes[0].kernel.noise.device)
        rows = len(next(iter(table.values())))
        blocks = _tensors(self.scales, table, device) or [torch.zeros((rows, 1), dtype=torch.float64, device=device)]
        means, variances = zip(*(process.predict(blocks) for process in self.processes), strict=True)
        mean, variance = combine([m.numpy() for m in means], [v.numpy() for v in variances])
        return mean, variance * len(self.processes)

    def labels(self, table: Table) -> Float[np.ndarray, " n"]:
        """The label predicted for each graph."""
        return self.target.inverse(self.predict(table)[0])

    def spread(self, table: Table) -> Float[np.ndarray, " n"]:
        """A deviation for each graph, in the labels' unit; the noise of labels is in it."""
        mean, variance = self.predict(table)
        deviation = np.sqrt(variance + float(torch.exp(self.processes[0].kernel.noise)))
        both: np.ndarray[Any, Any] = self.target.inverse(mean + deviation) - self.target.inverse(mean - deviation)
        return both / 2 + 1e-12

    def state(self, name: str) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
        """Arrays and settings that ``restored`` needs; keys begin with ``name``."""
        arrays = {f"{name}.labels": self.target.labels, f"{name}.scores": self.target.scores}
        for block, scale in self.scales.items():
            for part in ("columns", "mean", "deviation"):
                arrays[f"{name}.{block}.{part}"] = getattr(scale, part)
        kernel = self.processes[0].kernel
        arrays |= {f"{name}.kernel.{i}": t.cpu().numpy() for i, t in enumerate(kernel.tensors())}
        for i, process in enumerate(self.processes):
            arrays |= {f"{name}.process{i}.{j}": b.cpu().numpy() for j, b in enumerate(process.blocks)}
            arrays[f"{name}.process{i}.targets"] = process.targets.cpu().numpy()
        return arrays, {"blocks": list(self.scales), "processes": len(self.processes)}

    @classmethod
    def restored(cls, name: str, arrays: Mapping[str, np.ndarray[Any, Any]], settings: Mapping[str, Any]) -> Learner:
        """The learner that gave this state."""

        def tensor(key: str) -> torch.Tensor:
            return torch.from_numpy(arrays[f"{name}.{key}"].copy())

        scales = {
            block: Scale(*(arrays[f"{name}.{block}.{part}"] for part in ("columns", "mean", "deviation")))
            for block in settings["blocks"]
        }
        kernel = Kernel(*(tensor(f"kernel.{i}") for i in range(4)))
        processes = [
            Process(
                kernel,
                [tensor(f"process{i}.{j}") for j in range(max(len(scales), 1))],
                tensor(f"process{i}.targets"),
            )
            for i in range(settings["processes"])
        ]
        return cls(scales, Target(arrays[f"{name}.labels"], arrays[f"{name}.scores"]), processes)


def combine(
    means: Sequence[Float[np.ndarray, " n"]], variances: Sequence[Float[np.ndarray, " n"]]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The product of normal distributions: each mean counts by how sure it is."""
    precision = 1 / np.stack(variances)
    total = precision.sum(0)
    return (np.stack(means) * precision).sum(0) / total, 1 / total


def _tensors(scales: Mapping[str, Scale], table: Table, device: str, rows: Any = slice(None)) -> list[torch.Tensor]:
    return [torch.as_tensor(scale(table[name][rows]), device=device) for name, scale in scales.items()]
