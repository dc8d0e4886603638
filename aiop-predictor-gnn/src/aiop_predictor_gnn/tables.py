"""The transfer tables of the paper, made again from its authors' caches.

For each seed a predictor is pretrained on NAS-Bench-101; for each family an adapter learns
that family's labels of another task, made with a shared head; then each of the family's
individually labelled tasks is a target: some of its labels scale predictions (zero-shot)
or also fine-tune the predictor, and all others are predicted.

Source: AIO-P (AAAI-23), its results for transfer; the file names are those of its data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.contracts import Labelled, Metric, Progress
from aiop_core.errors import DataError, StoreError
from aiop_core.options import options_dict
from aiop_core.pipeline.caches import import_caches
from aiop_core.pipeline.fit import Contender, baselines, hold_out
from aiop_core.pipeline.rounds import ROUNDS, Round, RoundLog
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry
from aiop_core.records.cache import GraphCache
from aiop_core.records.json_file import write_json
from aiop_core.records.legacy.reading import LegacyImport
from aiop_predictor_gnn.options import AdaptOptions, GnnOptions, TuneOptions
from aiop_predictor_gnn.predictor import GnnPredictor

PRETRAINING = "nb101"
"""The cache that predictors are pretrained on."""

FAMILIES = ("ofa_pn", "ofa_mbv3", "ofa_resnet")

TASKS = {
    "val_PCK_lsp": "LSP",
    "val_PCK_mpii": "MPII",
    "obj_det_coco": "OD",
    "inst_seg_coco": "IS",
    "sem_seg_coco": "SS",
    "pan_seg_coco": "PS",
}
"""Tasks as the files call them, and as the paper's tables do."""

PUBLISHED_ZERO_SHOT: Mapping[str, Sequence[tuple[float, float]]] = {
    "ofa_pn": ((0.70, 0.698), (0.42, 0.753), (0.63, 0.781), (0.52, 0.831), (0.50, 0.735), (0.50, 0.732)),
    "ofa_mbv3": ((0.52, 0.556), (0.27, 0.701), (0.62, 0.515), (0.58, 0.602), (0.56, 0.689), (0.57, 0.518)),
    "ofa_resnet": ((0.94, 0.261), (1.03, 0.532), (0.60, 0.817), (0.48, 0.817), (0.44, 0.660), (0.45, 0.788)),
}
"""MAE in percent and Spearman in the order of ``TASKS``, 20 labels for scaling only (paper, zero-shot transfer)."""

PUBLISHED_FINE_TUNED: Mapping[str, Sequence[float]] = {"ofa_pn": (0.668, 0.773, 0.800, 0.894, 0.849, 0.868)}
"""Spearman in the order of ``TASKS``, fine-tuned on 20 labels."""

SEEDS = (12345, 1, 2, 3, 4)
"""The research code's, in its order."""

LABELS = 20
"""How many labels of a target are learnt from (paper)."""

ZERO_SHOT, FINE_TUNED = "zero-shot", "fine-tuned"

FIT = GnnOptions(
    scaling="standardise_flops",
    vocabulary="paper",
    lr=1e-4,
    batch_size=32,
    epochs=40,
    min_steps=1,
    patience=1.0,
)
"""The paper's pretraining, but that the learning rate rises and falls, and weights begin as this predictor's."""

ADAPT = AdaptOptions(normalise="own_maxima", lr=1e-4, batch_size=32, epochs=100, min_steps=1, validation=0.05)
"""The paper's training of an adapter, with the same two differences."""

TUNE = TuneOptions(what="backbone", scaling="standardise_flops", normalise="own_maxima")
"""The paper's fine-tuning: ``-k_adapt 1`` frees heads and backbone, 100 epochs of single graphs at 1e-4."""


@dataclass(frozen=True)
class TablesPlan:
    """How to make the tables.

    Attributes:
        caches: the folder of the authors' files.
        out: where predictors, rounds and results go.
        adapters: the tasks whose shared labels the adapters learn.
        seeds: of everything.
        labels: how many of a target's labels are learnt from.
        epochs: passes over labels at most, in each of the three trainings.
        tune: what fine-tuning frees.
        device: a torch device.
    """

    caches: Path
    out: Path
    adapters: Sequence[str] = ("val_PCK_lsp_shared",)
    seeds: Sequence[int] = SEEDS
    labels: int = LABELS
    epochs: int | None = None
    tune: str = TUNE.what
    device: str = "cpu"

    def file(self, name: str) -> Path:
        """The authors' file of a data set."""
        return self.caches / f"gpi_{name}_comp_graph_cache.pkl"

    def found(self, name: str) -> bool:
        """Whether that file is there."""
        return self.file(name).is_file()

    def sources(self, family: str) -> list[str]:
        """What the adapters of a family learn."""
        return [f"{family}_{adapter}" for adapter in self.adapters]

    @property
    def wanted(self) -> list[str]:
        """Every data set of the tables."""
        targets = [f"{family}_{task}_ind" for family in FAMILIES for task in TASKS]
        return [PRETRAINING, *(name for family in FAMILIES for name in self.sources(family)), *targets]

    @property
    def missing(self) -> list[Path]:
        """The files that are not there."""
        return [self.file(name) for name in self.wanted if not self.found(name)]

    @property
    def targets(self) -> list[tuple[str, str]]:
        """The (family, task) whose files are there, and those of whose family's adapters."""
        return [
            (family, task)
            for family in FAMILIES
            for task in TASKS
            if all(map(self.found, [PRETRAINING, *self.sources(family), f"{family}_{task}_ind"]))
        ]

    def short(self, options: Any) -> Any:
        """``options`` with no more epochs than asked."""
        return options if self.epochs is None else replace(options, epochs=min(options.epochs, self.epochs))

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the numbers."""
        return {
            "fit": options_dict(self.short(FIT)),
            "adapt": options_dict(self.short(ADAPT)),
            "tune": options_dict(replace(self.short(TUNE), what=self.tune)),
            "adapters": list(self.adapters),
            "labels": self.labels,
        }


@dataclass(frozen=True)
class Row:
    """One target of the tables: all rounds on it."""

    family: str
    task: str
    metric: Metric
    rounds: Sequence[Round]

    def of(self, name: str) -> list[Round]:
        """The rounds of one contender."""
        return [item for item in self.rounds if item.name == name]

    def published(self, name: str) -> tuple[float | None, float | None]:
        """The paper's MAE in percent and its Spearman."""
        i = list(TASKS).index(self.task)
        if name == ZERO_SHOT:
            return PUBLISHED_ZERO_SHOT[self.family][i]
        known = PUBLISHED_FINE_TUNED.get(self.family) if name == FINE_TUNED else None
        return None, None if known is None else known[i]


def make_tables(registry: PluginRegistry, plan: TablesPlan, view: View) -> list[Row]:
    """Every table that the files allow; what is done already is kept.

    Raises:
        DataError: if there is no target whose files are all there.
        StoreError: if ``out`` was made with other settings.
    """
    for path in plan.missing:
        view.say(f"missing: {path}")
    if not plan.targets:
        raise DataError(
            f"{plan.caches} lacks {len(plan.missing)} of {len(plan.wanted)} files; at least "
            f"{plan.file(PRETRAINING).name} and, of one family, those of {', '.join(plan.adapters)} and of one task "
            "are needed: put the AIO-P authors' CG_data there"
        )
    _check_identity(plan)
    rows = []
    for family, task in plan.targets:
        target = f"{family}_{task}_ind"
        cache = _cache(plan, target, view)
        folder = plan.out / target
        folder.mkdir(exist_ok=True)
        learnt = [_cache(plan, name, view) for name in (PRETRAINING, *plan.sources(family))]
        log = RoundLog(folder / ROUNDS, {"labels": _digest([cache]), "learnt": _digest(learnt)})
        rounds: list[Round] = []
        for seed in plan.seeds:
            make = partial(_adapted, plan, family, seed, view)
            field = [
                Contender(ZERO_SHOT, make, learn=_tune(plan, "scaling")),
                Contender(FINE_TUNED, make, learn=_tune(plan, plan.tune)),
                *baselines(registry),
            ]
            rounds += hold_out(
                field,
                cache.labelled,
                higher_is_better=cache.metric.higher_is_better,
                sizes=[plan.labels],
                seeds=[seed],
                device=plan.device,
                view=view,
                log=log,
            )
        rows.append(Row(family, task, cache.metric, rounds))
    write_json(plan.out / "results.json", [asdict(row) for row in rows])
    return rows


def _tune(plan: TablesPlan, what: str) -> Callable[..., Any]:
    def tune(predictor: GnnPredictor, labels: Labelled, *, seed: int, device: str, progress: Progress) -> None:
        options = replace(plan.short(TUNE), what=what)
        predictor.tune(labels, options, seed=seed, device=device, progress=progress)

    return tune


def _adapted(plan: TablesPlan, family: str, seed: int, view: View) -> GnnPredictor:
    """The pretrained predictor of a seed with the adapters of a family."""
    sources = plan.sources(family)

    def learn(predictor: GnnPredictor) -> None:
        predictor.load(_saved(plan, f"{PRETRAINING}-{seed}", partial(_pretrain, plan, seed, view)))
        for source in sources:
            data, options = _cache(plan, source, view).labelled, plan.short(ADAPT)
            progress = view.stage(f"{source}, seed {seed}")
            predictor.adapt(source, data, options, seed=seed, device=plan.device, progress=progress)

    predictor = GnnPredictor(plan.short(FIT))
    predictor.load(_saved(plan, f"{family}-{seed}", learn))
    return predictor


def _pretrain(plan: TablesPlan, seed: int, view: View, predictor: GnnPredictor) -> None:
    data, progress = _cache(plan, PRETRAINING, view).labelled, view.stage(f"{PRETRAINING}, seed {seed}")
    predictor.fit(data, seed=seed, device=plan.device, progress=progress)


def _saved(plan: TablesPlan, name: str, learn: Callable[[GnnPredictor], None]) -> Path:
    """The folder of a predictor that has learnt, now or in an earlier run."""
    folder, part = plan.out / "predictors" / name, plan.out / "predictors" / f"{name}.part"
    if not folder.is_dir():
        predictor = GnnPredictor(plan.short(FIT))
        learn(predictor)
        part.mkdir(parents=True, exist_ok=True)
        predictor.save(part)
        part.rename(folder)
    return folder


def _cache(plan: TablesPlan, name: str, view: View) -> GraphCache:
    """A data set, read from the authors' pickle once and from a cache of ours afterwards."""
    path = plan.out / "caches" / f"{name}.safetensors"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        import_caches([plan.file(name)], LegacyImport(), view).cache.save(path)
    return GraphCache.load(path)


def _digest(caches: Sequence[GraphCache]) -> str:
    """A hash of all graphs and labels."""
    content = hashlib.sha256()
    for cache in caches:
        graphs = cache.graphs
        columns = [graphs.columns[name] for name in sorted(graphs.columns)]
        for values in (*columns, graphs.edges, graphs.node_offsets, graphs.edge_offsets, cache.labels):
            content.update(f"{values.dtype}{values.shape}".encode() + np.ascontiguousarray(values).tobytes())
    return content.hexdigest()[:16]


def _check_identity(plan: TablesPlan) -> None:
    """Make sure that what is in the folder was made with the same settings."""
    path = plan.out / "settings.json"
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        known = json.loads(path.read_text()) if path.exists() else None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be used ({error}); name another folder with --out") from None
    if known is not None and known != plan.identity:
        other = [key for key, value in plan.identity.items() if known.get(key) != value]
        raise StoreError(f"{plan.out} was made with other {', '.join(other)}; give the same, or another --out")
    write_json(path, plan.identity)
