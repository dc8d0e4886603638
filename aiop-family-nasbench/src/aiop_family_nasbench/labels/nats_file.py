"""The files of NATS-Bench (topology) and of NAS-Bench-201.

All hold the same: for each architecture, for each length of training, the curves of some
trainings on four data sets. NATS-Bench is a folder with a file for each architecture, or one
file (``.pickle.pbz2``); NAS-Bench-201 is one file of torch (``.pth``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aiop_core.contracts import Progress
from aiop_core.errors import DataError
from aiop_family_nasbench.labels.pickles import read_bz2, read_torch
from aiop_family_nasbench.labels.table import LabelTable

EXTENSION = ".pickle.pbz2"

_DATASETS = {
    "cifar10": "cifar10",
    "cifar10-valid": "cifar10_valid",
    "cifar100": "cifar100",
    "ImageNet16-120": "imagenet16_120",
}
"""The benchmark's data sets, and what our columns begin with. On ``cifar10-valid`` half of
the training images are left out, to validate on."""

_SETS = {"x-valid": "val", "x-test": "test", "ori-test": "test"}

SPEC_COLUMNS = ("arch_str",)


def read(path: Path, progress: Progress) -> LabelTable:
    """One row for each architecture: accuracies in percent after the last epoch, means over seeds.

    Raises:
        DataError: if a file is missing, damaged, or of another benchmark.
    """
    table = LabelTable("nb201", SPEC_COLUMNS, "percent")
    for count, (index, total, arch, results) in enumerate(_architectures(path), 1):
        try:
            for trained in results.values():
                for (dataset, _), result in trained["all_results"].items():
                    table.add(str(index), {"arch_str": arch}, dict(_measured(dataset, result)))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path}: architecture {index} has no results as in NATS-Bench ({error!r:.80})") from None
        progress(count, total)
    if not table.rows:
        raise DataError(f"{path} holds no evaluated architectures")
    return table


def _measured(dataset: str, result: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Columns and values of one training."""
    epochs, name = result["epochs"], _DATASETS[dataset]
    yield f"{name}_train_{epochs}ep", float(result["train_acc1es"][epochs - 1])
    for evaluated in result["eval_names"]:
        if evaluated in _SETS:
            # of two data sets, the benchmark's 'ori-test' is validation and test together
            both = evaluated == "ori-test" and dataset in ("cifar100", "ImageNet16-120")
            which = "valtest" if both else _SETS[evaluated]
            yield f"{name}_{which}_{epochs}ep", float(result["eval_acc1es"][f"{evaluated}@{epochs - 1}"])


def _architectures(path: Path) -> Iterator[tuple[int, int, str, Mapping[str, Any]]]:
    """Number, how many there are, text and results of each evaluated architecture."""
    if path.is_dir():
        names = _names(path, read_bz2(path / f"meta{EXTENSION}"))
        files = sorted(file for file in path.glob(f"*{EXTENSION}") if file.name.removesuffix(EXTENSION).isdecimal())
        for file in files:
            index = int(file.name.removesuffix(EXTENSION))
            if index >= len(names):
                raise DataError(f"{file} has no entry in meta{EXTENSION}, which lists {len(names)} architectures")
            yield index, len(files), names[index], read_bz2(file)
        return
    content = read_torch(path) if path.suffix in (".pth", ".pt") else read_bz2(path)
    names = _names(path, content)
    infos = content.get("arch2infos")
    if not isinstance(infos, Mapping):
        raise DataError(f"{path} has no dictionary 'arch2infos'; for a folder's meta file, give the folder")
    for index, results in infos.items():
        if not isinstance(index, int) or not 0 <= index < len(names):
            raise DataError(f"{path} has results of architecture {index!r:.20}, but lists {len(names)} architectures")
        yield index, len(infos), names[index], results


def _names(path: Path, content: Any) -> list[str]:
    """The architectures' texts.

    Raises:
        DataError: if there are none, or they are those of the size search space.
    """
    names = content.get("meta_archs") if isinstance(content, Mapping) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path} has no list 'meta_archs'; give a file of NATS-Bench (topology) or NAS-Bench-201")
    if names and "~" not in names[0]:
        raise DataError(f"{path} is the size search space (NATS-sss), which no family has; give NATS-tss")
    return names
