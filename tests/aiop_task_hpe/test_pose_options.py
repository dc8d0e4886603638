"""Options: the paper's for real data, small ones for synthetic, contradictions explained."""

from dataclasses import fields
from pathlib import Path

import pytest

from aiop_core.errors import OptionError
from aiop_core.options import build_options, option_fields
from aiop_task_hpe.options import DATA_SETS, PoseOptions, Settings, resolve


def test_real_data_gets_the_papers_values():
    settings = resolve(PoseOptions(data="lsp_extended", data_dir=Path("data")))
    assert (settings.epochs, settings.input_size, settings.input_size // settings.output_stride) == (140, 256, 64)
    assert (settings.filters, settings.batch, settings.lr, settings.sigma) == (256, 32, 1e-3, 2.0)
    assert [round(s * settings.epochs) for s in settings.lr_steps] == [90, 120]
    assert settings.flip_test


@pytest.mark.parametrize("data", DATA_SETS)
def test_every_default_is_resolved(data):
    settings = resolve(PoseOptions(data=data, data_dir=Path("data")))
    assert [f.name for f in fields(Settings)] == [f.name for f in option_fields(PoseOptions)]
    assert all(getattr(settings, f.name) is not None for f in fields(Settings))


def test_what_is_given_stays():
    settings = resolve(build_options(PoseOptions, {"epochs": "3", "head-widths": "8,16", "flip-test": "yes"}))
    assert (settings.epochs, settings.head_widths, settings.flip_test) == (3, (8, 16), True)


def test_contradictions_are_explained():
    with pytest.raises(OptionError, match=r"input size 70 is not a multiple of output stride 4"):
        resolve(PoseOptions(input_size=70))
    with pytest.raises(OptionError, match=r"data 'lsp_extended' needs data_dir"):
        resolve(PoseOptions(data="lsp_extended"))
    with pytest.raises(
        OptionError, match=r"'data' is 'coco', allowed is one of synthetic, lsp, lsp_extended, hr_lspet, mpii"
    ):
        build_options(PoseOptions, {"data": "coco"})
