"""The paper's schedules by family, and what replaces them."""

import pytest

from aiop_core.capabilities import SharingRegistration
from aiop_core.errors import OptionError
from aiop_task_detectron2.plugin import aiop_register_tasks
from aiop_task_detectron2.sharing_options import (
    HeadOptions,
    Schedule,
    SharedOptions,
    head_schedule,
    population_size,
    tuning_schedule,
)


@pytest.mark.parametrize(
    ("family", "head", "tuning"),
    [
        ("ofa_pn", Schedule(250_000, (166_000, 222_000), 8), Schedule(750, (465, 635), None)),
        ("ofa_mbv3", Schedule(250_000, (166_000, 222_000), 8), Schedule(750, (465, 635), None)),
        ("ofa_resnet", Schedule(250_000, (166_000, 222_000), 5), Schedule(1000, (620, 850), 12)),
        ("another", Schedule(250_000, (166_000, 222_000), 8), Schedule(750, (465, 635), None)),
    ],
)
def test_real_data_get_the_papers_numbers(family, head, tuning):
    assert head_schedule(HeadOptions(), family, drawn=False) == head
    assert tuning_schedule(family, drawn=False) == tuning
    assert population_size(HeadOptions(), 5, drawn=False) == 3


def test_options_replace_them_and_steps_keep_their_shares():
    found = head_schedule(HeadOptions(iterations=1000, batch=4), "ofa_mbv3", drawn=False)
    assert found == Schedule(1000, (664, 888), 4)
    assert head_schedule(HeadOptions(iterations=10, steps=(9, 7)), "x", drawn=False).steps == (7, 9)
    assert head_schedule(HeadOptions(iterations=2), "x", drawn=False).steps == (1,)
    assert head_schedule(HeadOptions(iterations=1), "x", drawn=False).steps == ()
    assert head_schedule(HeadOptions(), "ofa_mbv3", drawn=True).steps == ()
    assert Schedule(10, warmup=4).changed(None, (), None) == Schedule(10, warmup=4)
    assert Schedule(10, warmup=4).changed(None, (), None, 0) == Schedule(10, warmup=0)
    with pytest.raises(OptionError, match="steps 5, 10 do not all come before the end of 10 iterations; give earlier"):
        head_schedule(HeadOptions(iterations=10, steps=(5, 10)), "x", drawn=False)


def test_a_population_has_a_deviation():
    assert population_size(HeadOptions(), 5, drawn=True) == 1
    assert population_size(HeadOptions(), 1, drawn=True) == 2
    assert population_size(HeadOptions(per_stratum=4), 5, drawn=True) == 4


def test_the_plugin_brings_the_options():
    (found,) = aiop_register_tasks()
    assert isinstance(found, SharingRegistration)
    assert (found.head_options, found.shared_options) == (HeadOptions, SharedOptions)
