"""Options: what they are by default, and which of them cannot change a label."""

import pytest

from aiop_core.errors import OptionError
from aiop_core.options import build_options, options_dict
from aiop_task_detectron2.options import PARTS, Detectron2Options


def test_by_default_drawn_images_and_all_parts():
    options = build_options(Detectron2Options, {})
    assert options.data == "synthetic"
    assert options.parts == PARTS == ("obj_det", "inst_seg", "sem_seg", "pan_seg")
    assert options.freeze is None


def test_paths_processes_and_gpus_are_no_part_of_what_a_label_is():
    kept = options_dict(Detectron2Options(), runtime=False)
    assert not {"data_dir", "cache_dir", "workers", "gpus"} & set(kept)
    assert {"data", "parts", "input_size", "overrides", "config_file", "iterations", "batch", "lr"} <= set(kept)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"parts": "obj_dat"}, "option 'parts' is 'obj_dat', allowed is some of obj_det, inst_seg, sem_seg, pan_seg"),
        ({"iteration": "3"}, "did you mean '.*iterations'"),
        ({"input_size": "8"}, "at least 32"),
        ({"lr": "fast"}, "lr"),
    ],
)
def test_odd_values_are_explained(given, said):
    with pytest.raises(OptionError, match=said):
        build_options(Detectron2Options, given)
