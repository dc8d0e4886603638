"""The options of the predictor ``gp``."""

from __future__ import annotations

from dataclasses import dataclass

from aiop_core.options import option

TARGETS = ("auto", "rank", "raw")
"""What may be learnt instead of the label."""


@dataclass(frozen=True)
class GpOptions:
    """What is learnt, and from how many labels at once."""

    target: str = option(
        "auto",
        "what is learnt: the label's normal score (rank), the standardised label (raw), or whichever of them "
        "ranks left-out labels better (auto)",
        choices=TARGETS,
    )
    scores: bool = option(True, "also read the scores beside the graphs, such as a profiler's, where there are any")
    capacity: int = option(
        2000, "labels in one process, whose time grows with their cube; more labels make several processes", minimum=10
    )
    processes: int = option(16, "processes at most; labels beyond processes x capacity are left out", minimum=1)


@dataclass(frozen=True)
class GpTuneOptions:
    """How few labels of a target are used."""

    what: str = option(
        "auto",
        "what the labels decide: everything (all), only the scale of what earlier data sets predict (scaling: the "
        "paper's zero-shot protocol), or whichever of them ranks left-out labels better (auto)",
        choices=("auto", "all", "scaling"),
    )
    adapter: str = option("average", "which earlier data set is asked, by its name, or the average of all")
