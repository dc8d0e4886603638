"""A table of labels: one row an architecture, one column what describes it or was measured."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

from aiop_core.errors import DataError

Measured = dict[str, tuple[float, int]]
"""For each column the sum of what was measured, and how often."""


@dataclass
class LabelTable:
    """Labels that come one training after the other, averaged for each architecture.

    Attributes:
        family: whose architectures they are.
        spec_columns: the columns that describe an architecture.
        unit: of the accuracies.
        rows: what describes an architecture, and what was measured, by its name in the file.
    """

    family: str
    spec_columns: tuple[str, ...]
    unit: str
    rows: dict[str, tuple[dict[str, str], Measured]] = field(default_factory=dict)

    def add(self, name: str, spec: dict[str, str], measured: dict[str, float]) -> None:
        """One more training of an architecture."""
        _, sums = self.rows.setdefault(name, (spec, {}))
        for column, value in measured.items():
            total, count = sums.get(column, (0.0, 0))
            sums[column] = total + value, count + 1

    @property
    def label_columns(self) -> list[str]:
        """What was measured of any architecture, in the order in which it came."""
        return list(dict.fromkeys(column for _, sums in self.rows.values() for column in sums))

    def columns(self) -> dict[str, list[str] | list[float | None]]:
        """All columns; a label that an architecture lacks is ``None``."""
        rows = self.rows.values()
        found: dict[str, list[str] | list[float | None]] = {
            name: [spec[name] for spec, _ in rows] for name in self.spec_columns
        }
        for name in self.label_columns:
            found[name] = [sums[name][0] / sums[name][1] if name in sums else None for _, sums in rows]
        return found

    def write(self, path: Path) -> None:
        """A .csv or .parquet file, by its suffix.

        Raises:
            DataError: if the suffix is another one, pyarrow is missing, or the file cannot be written.
        """
        columns = self.columns()
        try:
            if path.suffix == ".csv":
                with path.open("w", newline="", encoding="utf-8") as file:
                    writer = csv.writer(file)
                    writer.writerow(columns)
                    writer.writerows(zip(*columns.values(), strict=True))
                return
            if path.suffix != ".parquet":
                raise DataError(f"{path} must end with .csv or .parquet, by which the file is known")
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError:
            raise DataError(
                f"writing {path} needs pyarrow: pip install 'aiop-family-nasbench[parquet]', or name a .csv"
            ) from None
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror}") from error
        parquet.write_table(pa.table(columns), path)
