"""The data sets by the option ``data``: training and validation persons of each."""

from __future__ import annotations

from aiop_task_hpe import lsp
from aiop_task_hpe.mpii import read_mpii
from aiop_task_hpe.options import VALIDATION_OFFSET, Settings
from aiop_task_hpe.patches import PatchSource
from aiop_task_hpe.persons import PATCH_MARGIN
from aiop_task_hpe.synthetic import SyntheticFigures


def read_data(settings: Settings) -> tuple[PatchSource, PatchSource]:
    """The persons to train on, and those to measure on.

    Raises:
        DataError: if it is missing or not what it should be.
    """
    s = settings
    if s.data == "synthetic":
        return (
            SyntheticFigures(s.train_images, s.input_size, s.data_seed),
            SyntheticFigures(s.val_images, s.input_size, s.data_seed, first=VALIDATION_OFFSET),
        )
    assert s.data_dir is not None  # resolve() saw to it
    size = round(s.input_size * PATCH_MARGIN)
    if s.data == "mpii":
        return read_mpii(s.data_dir, size=size, annotations=s.annotations, train_share=s.train_share)
    if s.data != "lsp":
        return lsp.read_extended(s.data, s.data_dir, size=size, train_share=s.train_share)
    train, val = lsp.read_lsp(s.data_dir, size=size)
    if s.extension != "nothing":
        train += lsp.read_whole(s.extension, s.data_dir, size=size)
    return train, val
