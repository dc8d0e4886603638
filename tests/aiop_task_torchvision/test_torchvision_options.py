"""What options become, and which contradict each other."""

import pytest

from aiop_core.errors import OptionError
from aiop_core.options import build_options
from aiop_task_torchvision.options import TorchvisionOptions, resolve


def test_coco_has_the_published_recipe_and_heads():
    s = resolve(TorchvisionOptions(data="coco"))
    assert (s.epochs, s.batch, s.lr, s.optimiser, s.schedule) == (26, 16, 0.02, "sgd", "step")
    assert [round(26 * share) for share in s.lr_steps] == [16, 22]
    assert (s.min_size, s.max_size, s.channels, s.box_width, s.proposals, s.workers) == (800, 1333, 256, 1024, 1000, 4)


def test_synthetic_images_are_not_scaled_unless_asked():
    assert resolve(TorchvisionOptions(image_size=160)).min_size == 160
    assert resolve(TorchvisionOptions(image_size=160, min_size=64, max_size=96)).max_size == 96


def test_what_is_given_wins():
    assert resolve(TorchvisionOptions(data="coco", batch=4, workers=0)).batch == 4
    assert resolve(TorchvisionOptions(data="coco", batch=4, workers=0)).workers == 0


def test_parts_are_some_of_three_each_once():
    assert build_options(TorchvisionOptions, {"parts": "sem_seg,obj_det"}).parts == ("sem_seg", "obj_det")
    with pytest.raises(OptionError, match="parts is ''; name one or more of obj_det, inst_seg, sem_seg, each once"):
        build_options(TorchvisionOptions, {"parts": ""})
    with pytest.raises(OptionError, match="parts is 'sem_seg,sem_seg'; name one or more"):
        build_options(TorchvisionOptions, {"parts": "sem_seg,sem_seg"})
    with pytest.raises(OptionError, match=r"'pan_seg', allowed is some of obj_det, inst_seg, sem_seg"):
        build_options(TorchvisionOptions, {"parts": "pan_seg"})


def test_sides_in_the_wrong_order_are_refused():
    with pytest.raises(OptionError, match="max_size 320 is less than min_size 800; give a longer side"):
        resolve(TorchvisionOptions(data="coco", max_size=320))
