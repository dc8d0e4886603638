"""One head for a family: it learns, repeats, survives a kill, and attaches only where it fits."""

import contextlib
from copy import copy

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from aiop_core.contracts import Level, NoOptions, silent
from aiop_core.errors import ContractError, DataError, OptionError, WeightsError
from aiop_core.testing.sharing import SHARING_CHECKS, MakeHead
from aiop_task_detectron2.options import Detectron2Options
from aiop_task_detectron2.sharing_options import SYNTHETIC_TUNING, HeadOptions, SharedOptions

LEVELS = (Level(8, 4), Level(12, 8), Level(16, 16), Level(24, 32))

METHODS = {
    "sample": HeadOptions(iterations=5, batch=2),
    "swap": HeadOptions(iterations=5, batch=2, method="swap", swap=2),
    "trained": HeadOptions(iterations=5, batch=2, method="swap", swap=2, freeze=1),
}


class KilledError(Exception):
    """Stands for a kill."""


def stop_at(step):
    def progress(done, total, note=""):
        if done == step:
            raise KilledError

    return progress


@pytest.fixture(scope="module")
def make_task(detectron2, tmp_path_factory):
    """``make_task(…)``: the task on a few drawn images, with options."""
    from aiop_task_detectron2.task import Detectron2Task

    small = {
        "train_images": 6,
        "val_images": 2,
        "input_size": 64,
        "channels": 16,
        "cache_dir": tmp_path_factory.mktemp("cache"),
    }
    return lambda **options: Detectron2Task(Detectron2Options(**small | options))


@pytest.fixture(scope="module")
def task(make_task):
    return make_task()


@pytest.fixture
def make_bodies(tiny_body):
    """Bodies that differ in their weights; ``levels`` may depend on the number."""

    class Bodies:
        def __init__(self, *, family="tiny", strata=2, levels=lambda number: LEVELS, widest=None):
            self.family, self.strata, self.widest, self._levels = family, strata, widest, levels

        def spec(self, number):
            return f"{number}"

        def body(self, number):
            body = tiny_body(self._levels(number))
            generator = torch.Generator().manual_seed(number)
            for module in body.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, generator=generator)
            return body

    return Bodies


@pytest.fixture
def bodies(make_bodies):
    return make_bodies()


def train(task, bodies, out, options, *, seed=0, progress=silent):
    out.mkdir(exist_ok=True)
    return task.train_head(bodies, None, out, options, seed=seed, device="cpu", progress=progress)


@pytest.fixture
def head(task, bodies, tmp_path):
    train(task, bodies, tmp_path / "head", HeadOptions(iterations=1, batch=2))
    return tmp_path / "head"


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_training_gives_the_weights_of_an_uninterrupted_one(task, bodies, tmp_path, method):
    options = METHODS[method]
    report = train(task, bodies, tmp_path / "whole", options)
    assert report.values["steps"] == 5
    saving = HeadOptions(**{**vars(options), "save_every": 1})
    with pytest.raises(KilledError):
        train(task, bodies, tmp_path / "killed", saving, progress=stop_at(3))
    seen = []
    again = train(task, bodies, tmp_path / "killed", saving, progress=lambda done, *rest: seen.append(done))
    assert seen[0] == (3 if method == "trained" else 4)
    assert again.values == report.values
    first, second = (load_file(tmp_path / name / "head.safetensors") for name in ("whole", "killed"))
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == ["head.json", "head.safetensors"]
    assert train(task, bodies, tmp_path / "other", options, seed=1).values != report.values


def louder(bodies):
    """The same bodies, whose convolutions give a hundred times as much; batch norms take that back."""
    loud = copy(bodies)

    def body(number):
        made = bodies.body(number)
        for module in made.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data *= 100
        return made

    loud.body = body
    return loud


def test_a_head_sees_what_bodies_say_of_the_task_s_images_normalised(task, bodies, tmp_path):
    options = HeadOptions(iterations=1, batch=2)
    first, second = (train(task, b, tmp_path / n, options).values for n, b in (("a", bodies), ("b", louder(bodies))))
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-2)


def test_a_finished_head_is_not_trained_again_and_another_is_refused(task, bodies, head):
    seen = []
    options = HeadOptions(iterations=1, batch=2)
    assert train(task, bodies, head, options, progress=lambda *a: seen.append(a)).values["steps"] == 1
    assert not seen
    with pytest.raises(DataError, match=r"head in .* made of seed 0, but 1 is wanted; give another folder"):
        train(task, bodies, head, options, seed=1)
    with pytest.raises(DataError, match=r"made of SOLVER.MAX_ITER 1, but 2 is wanted; give another folder"):
        train(task, bodies, head, HeadOptions(iterations=2, batch=2))


def test_a_half_trained_head_of_other_options_or_data_is_refused(task, make_task, make_bodies, tmp_path):
    out, options = tmp_path / "head", HeadOptions(iterations=3, batch=2, save_every=1)
    with pytest.raises(KilledError):
        train(task, make_bodies(), out, options, progress=stop_at(2))
    said = "half-trained head in .* made of "
    for other, family, changed, difference in (
        (task, "tiny", {"lr": 0.5}, r"SOLVER.BASE_LR 0\.\d+, but 0\.5 is wanted"),
        (task, "tiny", {"per_stratum": 2}, "per_stratum 1, but 2 is wanted"),
        (task, "other", {}, "family tiny, but other is wanted"),
        (make_task(train_images=7), "tiny", {}, "train .*, but .* is wanted"),
        (make_task(parts=("obj_det",)), "tiny", {}, r"parts \[.*\], but \['obj_det'\] is wanted"),
        (make_task(channels=8), "tiny", {}, "channels 16, but 8 is wanted"),
    ):
        with pytest.raises(DataError, match=said + difference):
            train(other, make_bodies(family=family), out, HeadOptions(**vars(options) | changed))
    (out / "training.pt").write_bytes(b"short")
    with pytest.raises(DataError, match=r"training.pt is damaged .* delete it to train the head from its beginning"):
        train(task, make_bodies(), out, options)


def test_a_checkpoint_comes_every_so_many_steps(task, bodies, tmp_path):
    for stop, there in ((2, False), (3, True)):
        with pytest.raises(KilledError):
            train(
                task,
                bodies,
                tmp_path / "head",
                HeadOptions(iterations=4, batch=2, save_every=2),
                progress=stop_at(stop),
            )
        assert (tmp_path / "head" / "training.pt").exists() == there or stop == 2
    assert torch.load(tmp_path / "head" / "training.pt", weights_only=True)["step"] == 2


def test_attached_body_and_head_keep_their_weights(task, bodies, head):
    saved = load_file(head / "head.safetensors")
    assert {name.split(".")[0] for name in saved} == {"pyramid", "proposal_generator", "roi_heads", "sem_seg_head"}
    answers = []
    for number in (0, 5):
        body, fresh = bodies.body(number), bodies.body(number).state_dict()
        model = task.attach(body, head).eval()
        kept = model.detector.state_dict()
        assert all(torch.equal(value, kept[f"backbone.body.{name}"]) for name, value in fresh.items())
        for name, value in saved.items():
            assert torch.equal(value, kept[name.replace("pyramid.", "backbone.pyramid.")])
        with torch.no_grad():
            answers.append(model(torch.ones(1, 3, 64, 64))[0])
    assert not torch.equal(*answers)


def test_a_head_learns_of_many_bodies(task, bodies, tmp_path):
    seen = []
    train(
        task,
        bodies,
        tmp_path / "head",
        HeadOptions(iterations=40, batch=4, lr=0.05),
        progress=lambda done, total, note: seen.append(float(note.split()[1])),
    )
    assert sum(seen[-8:]) < 0.9 * sum(seen[:8])


def test_varying_widths_are_padded(make_task, make_bodies, tmp_path):
    def levels(number):
        return (Level(8 - number % 2, 4), *LEVELS[1:3], Level(24 - number % 3, 32))

    out = tmp_path / "head"
    train(make_task(), make_bodies(levels=levels, widest=LEVELS), out, HeadOptions(iterations=1, batch=2))
    model = make_task().attach(make_bodies(levels=levels).body(5), out)
    assert model.detector.backbone.pyramid.pad.levels == LEVELS
    with pytest.raises(OptionError, match=r"body 1 of tiny has levels of 7, 12, 16, 23 .* need 8,12,16,24"):
        train(make_task(), make_bodies(levels=levels), tmp_path / "none", HeadOptions(iterations=1, batch=2))
    with pytest.raises(WeightsError, match=r"made of levels \[\[8, 4\], .*, but \[\[9, 4\], .* is wanted"):
        make_task().attach(make_bodies(levels=lambda number: (Level(9, 4), *LEVELS[1:])).body(0), out)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"parts": ("obj_det",)}, r"parts \['obj_det', 'inst_seg', 'sem_seg', 'pan_seg'\], but \['obj_det'\]"),
        ({"data_seed": 1}, "data_seed 0, but 1 is wanted; use the options that the head was trained with"),
        ({"input_size": 96}, "input_size 64, but 96 is wanted"),
        ({"head_widths": (8, 12, 16, 32)}, r"widths \[\], but \[8, 12, 16, 32\] is wanted"),
        ({"overrides": "MODEL.ROI_BOX_HEAD.FC_DIM 64"}, "MODEL.ROI_BOX_HEAD.FC_DIM 128, but 64 is wanted"),
    ],
)
def test_a_head_of_other_options_is_refused(make_task, bodies, head, options, said):
    with pytest.raises(WeightsError, match=rf"head in .* made of {said}"):
        make_task(**options).attach(bodies.body(0), head)


def test_a_head_of_another_pyramid_body_or_damaged_is_refused(task, make_task, make_bodies, bodies, head):
    make_task(train_images=9, val_images=3, overrides="MODEL.ROI_HEADS.SCORE_THRESH_TEST 0.2").attach(
        bodies.body(0), head
    )
    with pytest.raises(WeightsError, match=r"tensor '.*' has shape .*, the head needs .*; train the head anew"):
        make_task(channels=24).attach(bodies.body(0), head)
    other = make_bodies(levels=lambda number: LEVELS[1:])
    with pytest.raises(WeightsError, match=r"made of levels \[\[8, 4\], .*, but \[\[12, 8\], .* is wanted"):
        task.attach(other.body(0), head)
    (head / "head.safetensors").write_bytes(b"short")
    with pytest.raises(WeightsError, match=r"head.safetensors is damaged .* train the head anew"):
        task.attach(bodies.body(0), head)
    with pytest.raises(WeightsError, match=r"head.json does not exist; give a folder that 'aiop head' finished"):
        task.attach(bodies.body(0), head.parent)


def test_a_head_that_was_trained_on_other_real_images_is_refused(make_task, bodies, tmp_path):
    from aiop_coco.drawn import drawn_root, drawn_set

    roots = []
    for seed in (3, 4):
        of_set = {"train": 3, "val": 2, "size": 64, "seed": seed}
        drawn_set(tmp_path, **of_set)
        roots.append(drawn_root(tmp_path, **of_set))
    small = "MODEL.ROI_BOX_HEAD.FC_DIM 16 INPUT.MIN_SIZE_TRAIN (64,) MODEL.RPN.POST_NMS_TOPK_TRAIN 20"
    first, second = (
        make_task(data="coco", data_dir=root, parts=("obj_det",), overrides=small, workers=0) for root in roots
    )
    train(first, bodies, tmp_path / "head", HeadOptions(iterations=1, batch=1))
    first.attach(bodies.body(0), tmp_path / "head")
    with pytest.raises(WeightsError, match=r"made of train .*, but .* is wanted; use the options that the head"):
        second.attach(bodies.body(0), tmp_path / "head")


def test_finetuning_goes_on_from_the_head_and_can_leave_the_body(task, bodies, head):
    for freeze in (True, False):
        model = task.attach(bodies.body(0), head)
        assert SYNTHETIC_TUNING.iterations == model.cfg.SOLVER.MAX_ITER
        start = {name: value.detach().clone() for name, value in model.detector.named_parameters()}
        options = SharedOptions(iterations=1, batch=2, lr=1e-4, freeze_body=freeze)
        task.finetune(model, options, seed=3, device="cpu", progress=silent)
        moved = {name for name, value in model.detector.named_parameters() if not torch.equal(value, start[name])}
        assert any(name.startswith("roi_heads.") for name in moved)
        assert any(name.startswith("backbone.body.") for name in moved) != freeze
        assert all(p.requires_grad for p in model.detector.parameters())
    with pytest.raises(ContractError, match="give what model"):
        task.finetune(nn.Identity(), options, seed=3, device="cpu", progress=silent)


def test_bodies_normalise_as_drawn_images_make_them(task, bodies):
    from aiop_core.sharing.bodies import FrozenBodies
    from aiop_task_detectron2.shared_head import calibration_images, scheduled
    from aiop_task_detectron2.sharing_options import SYNTHETIC_HEAD

    cfg = scheduled(task.cfg, SYNTHETIC_HEAD, None)
    images = calibration_images(task.data[0].records, cfg, 0, "cpu")
    assert images.shape[1:] == (3, 64, 64)
    assert images.mean().abs() < 1
    plain, ready = (FrozenBodies(bodies, (), "cpu", given).body(0).backbone for given in (None, images))
    assert not all(torch.equal(value, ready.state_dict()[name]) for name, value in plain.state_dict().items())


def test_options_of_finetuning_reach_detectron2(task, bodies, head, monkeypatch):
    from aiop_task_detectron2 import shared_head

    seen = []
    monkeypatch.setattr(shared_head, "fit", lambda detector, records, cfg, **rest: seen.append(cfg.SOLVER))
    model = task.attach(bodies.body(0), head)
    for options in (SharedOptions(), SharedOptions(iterations=9, steps=(4,), batch=3, lr=0.25, warmup=0)):
        task.finetune(model, options, seed=0, device="cpu", progress=silent)
    plain, changed = [[s.MAX_ITER, s.STEPS, s.IMS_PER_BATCH, s.BASE_LR, s.WARMUP_ITERS] for s in seen]
    usual = task.cfg.SOLVER
    assert plain == [SYNTHETIC_TUNING.iterations, (), usual.IMS_PER_BATCH, usual.BASE_LR, SYNTHETIC_TUNING.warmup]
    assert changed == [9, (4,), 3, 0.25, 0]


def test_a_killed_finetuning_goes_on_to_the_same_weights(make_task, bodies, head):
    options = SharedOptions(iterations=4, batch=2)

    def tuned(stop=None, **changes):
        task, seen = make_task(**changes), []

        def progress(done, total, note=""):
            seen.append(done)
            if done == stop:
                raise KilledError

        model = task.attach(bodies.body(0), head)
        with contextlib.suppress(KilledError):
            task.finetune(model, options, seed=3, device="cpu", progress=progress)
        return seen, model, task

    _, whole, _ = tuned()
    assert tuned(stop=3, save_every=2)[0] == [1, 2, 3]
    seen, again, task = tuned(save_every=2)
    assert seen == [3, 4]
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())
    task.evaluate(again, device="cpu")
    assert tuned(stop=1, save_every=2)[0] == [1], "what was measured is not kept"


def test_there_are_no_latents(task, bodies, tmp_path):
    assert not task.reads_latents(HeadOptions())
    with pytest.raises(OptionError, match=r"no use for latents.* 'aiop head' draws features .*; leave this step out"):
        task.collect_latents(bodies, tmp_path, NoOptions(), device="cpu", progress=silent)


def test_a_population_of_one_is_refused(task, make_bodies, tmp_path):
    with pytest.raises(OptionError, match="one body of tiny at a time has no deviation; give per_stratum of at least"):
        train(task, make_bodies(strata=1), tmp_path / "head", HeadOptions(per_stratum=1, iterations=1, batch=2))


@pytest.mark.parametrize("check", SHARING_CHECKS, ids=lambda check: check.__name__)
def test_the_task_keeps_the_promises_of_sharing(task, make_bodies, check):
    head, shared = HeadOptions(iterations=1, batch=2), SharedOptions(iterations=1, batch=2)
    check(MakeHead(task, NoOptions(), head, shared, make_bodies(strata=1)))
