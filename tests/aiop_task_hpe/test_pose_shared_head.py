"""One head for a family: it learns, repeats, survives a kill, and attaches only where it fits."""

import resource
import signal
from copy import copy
from pathlib import Path

import pytest
import scipy.io
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from aiop_core.contracts import Level, silent
from aiop_core.errors import ContractError, DataError, LabelError, OptionError, WeightsError
from aiop_core.options import build_options
from aiop_core.plugins import PluginRegistry, PluginSource
from aiop_core.testing.sharing import SHARING_CHECKS, MakeHead
from aiop_task_hpe import plugin
from aiop_task_hpe.augment import normalised
from aiop_task_hpe.features import LatentFeatures
from aiop_task_hpe.latents import Latents, collect_latents
from aiop_task_hpe.options import VALIDATION_OFFSET, PoseOptions, resolve
from aiop_task_hpe.sharing_options import HeadOptions, LatentsOptions, SharedOptions, head_settings, tune_settings
from aiop_task_hpe.task import PoseTask
from aiop_task_hpe.training import loss_of

METHODS = {
    "latents": HeadOptions(epochs=3, batch=8, lr=1e-2),
    "population": HeadOptions(epochs=3, batch=8, lr=1e-2),
    "swap": HeadOptions(epochs=3, batch=8, lr=1e-2, method="swap", swap=2),
    "trained": HeadOptions(epochs=3, batch=8, lr=1e-3, method="swap", swap=2, freeze=1),
}


class KilledError(Exception):
    """Stands for a kill."""


def pose_task(**options):
    return PoseTask(PoseOptions(**{"train_images": 24, "val_images": 8, "input_size": 32, "filters": 8} | options))


@pytest.fixture
def task():
    return pose_task()


@pytest.fixture
def bodies(tiny_bodies):
    return tiny_bodies()


@pytest.fixture
def latents(task, bodies, tmp_path):
    folder = tmp_path / "latents"
    folder.mkdir()
    collect_latents(task, bodies, folder, LatentsOptions(mirrored=True), device="cpu", progress=silent)
    return folder


def train(task, bodies, out, options, latents=None, *, seed=0, progress=silent):
    out.mkdir(exist_ok=True)
    return task.train_head(bodies, latents, out, options, seed=seed, device="cpu", progress=progress)


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_training_gives_the_weights_of_an_uninterrupted_one(task, bodies, latents, tmp_path, method):
    options = METHODS[method]
    cache = latents if method == "latents" else None
    report = train(task, bodies, tmp_path / "whole", options, cache)
    assert report.values["steps"] == 9
    saving = HeadOptions(**{**vars(options), "save_every": 0.0})

    def kill(done, total, note=""):
        if done == 5:
            raise KilledError

    with pytest.raises(KilledError):
        train(task, bodies, tmp_path / "killed", saving, cache, progress=kill)
    seen = []
    again = train(
        task, bodies, tmp_path / "killed", saving, cache, progress=lambda done, total, note="": seen.append(done)
    )
    assert seen[0] == (5 if method == "trained" else 6)
    assert again.values == pytest.approx(report.values)
    first, second = (load_file(tmp_path / name / "head.safetensors") for name in ("whole", "killed"))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
    assert not (tmp_path / "killed" / "training.pt").exists()
    other = train(task, bodies, tmp_path / "other", options, cache, seed=1)
    assert other.values != report.values


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


@pytest.mark.parametrize("method", ["sample", "swap"])
def test_a_head_sees_what_bodies_say_of_the_task_s_images_normalised(task, bodies, tmp_path, method):
    options = HeadOptions(epochs=1, batch=8, lr=1e-3, method=method, per_stratum=2)
    train(task, bodies, tmp_path / "quiet", options)
    train(task, louder(bodies), tmp_path / "loud", options)
    quiet, loud = (load_file(tmp_path / name / "head.safetensors") for name in ("quiet", "loud"))
    seen = [name for name in quiet if name.endswith("running_var")]  # the head's own norms hide it elsewhere
    assert seen
    for name in seen:
        torch.testing.assert_close(quiet[name], loud[name], rtol=0.1, atol=0)


def test_a_finished_head_is_not_trained_again_and_another_is_refused(task, bodies, tmp_path):
    options = METHODS["swap"]
    report = train(task, bodies, tmp_path / "head", options)
    seen = []
    again = train(task, bodies, tmp_path / "head", options, progress=lambda *a: seen.append(a))
    assert again.values == report.values
    assert not seen
    with pytest.raises(DataError, match=r"head in .* made of seed 0, but 1 is wanted; give another folder"):
        train(task, bodies, tmp_path / "head", options, seed=1)


def test_a_half_trained_head_of_other_options_is_refused(task, bodies, tmp_path):
    def kill(done, total, note=""):
        if done == 3:
            raise KilledError

    with pytest.raises(KilledError):
        train(
            task, bodies, tmp_path / "head", HeadOptions(method="swap", epochs=2, batch=8, save_every=0), progress=kill
        )
    with pytest.raises(DataError, match=r"half-trained head in .* made of epochs 2, but 3 is wanted"):
        train(task, bodies, tmp_path / "head", HeadOptions(method="swap", epochs=3, batch=8))
    with pytest.raises(DataError, match="made of filters 8, but 16 is wanted"):
        train(pose_task(filters=16), bodies, tmp_path / "head", HeadOptions(method="swap", epochs=2, batch=8))
    checkpoint = tmp_path / "head" / "training.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(DataError, match=r"training.pt is damaged .* delete it to train the head from its beginning"):
        train(task, bodies, tmp_path / "head", HeadOptions(method="swap", epochs=2, batch=8))


def test_a_full_disk_is_one_line(task, bodies, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    try:
        with pytest.raises(DataError, match=r"training.pt cannot be written .* make room and repeat"):
            train(task, bodies, tmp_path / "one", HeadOptions(method="swap", epochs=1, batch=8, save_every=0))
        with pytest.raises(DataError, match=r"head in .* cannot be written .* make room and repeat"):
            train(task, bodies, tmp_path / "two", HeadOptions(method="swap", epochs=1, batch=8))
        assert not [*tmp_path.glob("*/*")]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_diverging_head_is_said(task, bodies, tmp_path):
    class Broken(type(bodies)):
        def body(self, number):
            body = super().body(number)
            nn.init.constant_(body.blocks[0][0].weight, torch.nan)
            return body

    with pytest.raises(LabelError, match=r"shared head's loss became nan in step 1 of 3; lower lr, now 0.01"):
        train(task, Broken(), tmp_path / "head", HeadOptions(method="swap", epochs=1, batch=8))


def test_one_body_at_a_time_has_no_deviation(task, tiny_bodies, tmp_path):
    with pytest.raises(OptionError, match="one body of tiny at a time has no deviation; give per_stratum of at least"):
        train(task, tiny_bodies(strata=1), tmp_path / "head", HeadOptions(per_stratum=1, epochs=1, batch=8))


def test_latents_of_another_family_or_size_are_refused(task, tiny_bodies, latents, tmp_path):
    with pytest.raises(DataError, match=r"latents in .* made of family tiny, but other is wanted; collect latents"):
        train(task, tiny_bodies(family="other"), tmp_path / "a", METHODS["latents"], latents)
    with pytest.raises(DataError, match="made of input_size 32, but 64 is wanted"):
        train(pose_task(input_size=64), tiny_bodies(), tmp_path / "b", METHODS["latents"], latents)


def test_latents_of_other_draws_of_the_family_serve(task, tiny_bodies, latents, tmp_path):
    class Redrawn(tiny_bodies):
        def spec(self, number):
            return f"again {number}"

    train(task, Redrawn(offset=50), tmp_path / "head", METHODS["latents"], latents)


def test_noise_is_fresh_in_every_epoch_and_mirror_images_are_used(task, latents):
    settings = resolve(PoseOptions(flip=0.5))
    source = LatentFeatures(Latents.open(latents), 3, settings, seed=0, device="cpu")
    order = torch.arange(24).numpy()
    first, second = (next(source.batches(order, 24, step)) for step in (0, 1))
    again = next(source.batches(order, 24, 0))
    assert torch.equal(first[0][2], again[0][2])
    assert (first[0][2] != second[0][2]).float().mean() > 0.5
    pairs, plain = Latents.open(latents).read("train", order, 0, levels=3)
    same = (first[1].joints == plain.joints).flatten(1).all(dim=1)
    assert 4 < same.sum() < 20
    zeta = ((first[0][2] - pairs[2][0].float()) / pairs[2][1].float())[same]
    assert zeta[zeta.isfinite()].std().item() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("head", ["deconv", "skip"])
@pytest.mark.parametrize("widths", ["of the option", "of the family"])
def test_attached_it_answers_as_it_did_in_training(tiny_bodies, tmp_path, head, widths):
    task = pose_task(head=head, head_widths=(5, 6, 9) if widths == "of the option" else ())
    bodies = tiny_bodies(
        levels=lambda n: (Level(4 - n % 2, 4), Level(6, 8), Level(8 - n % 3, 16)),
        widest=(Level(4, 4), Level(6, 8), Level(8, 16)),
    )
    train(task, bodies, tmp_path / "head", METHODS["swap"])
    images = torch.randn(2, 3, 32, 32)
    answers = []
    for number in (0, 5):
        model = task.attach(bodies.body(number), tmp_path / "head").eval()
        trained = load_file(tmp_path / "head" / "head.safetensors")
        assert all(torch.equal(value, model.head.state_dict()[name]) for name, value in trained.items())
        with torch.no_grad():
            answers.append(model(images))
            assert torch.equal(answers[-1], model.head(bodies.body(number).eval()(images)))
    assert not torch.equal(*answers)
    assert 0 <= task.evaluate(model, device="cpu")["val_PCK"] <= 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head": "deconv"}, "made of head skip, but deconv is wanted"),
        ({"filters": 16}, "made of filters 8, but 16 is wanted"),
        ({"input_size": 64}, "made of input_size 32, but 64 is wanted; use the options that the head was trained"),
        ({"output_stride": 8}, "made of output_stride 4, but 8 is wanted"),
        ({"head_widths": (4, 6, 8)}, r"made of widths \[\], but \[4, 6, 8\] is wanted"),
    ],
)
def test_a_head_of_other_options_is_refused(task, bodies, tmp_path, options, said):
    train(task, bodies, tmp_path / "head", METHODS["swap"])
    with pytest.raises(WeightsError, match=said):
        pose_task(**options).attach(bodies.body(0), tmp_path / "head")


def test_a_head_that_was_trained_on_what_is_measured_is_refused(bodies, lspet_folder, tmp_path):
    def lspet(**options):
        return pose_task(data="lsp_extended", data_dir=lspet_folder, batch=2, **options)

    train(lspet(train_share=0.8), bodies, tmp_path / "head", HeadOptions(method="swap", epochs=1, batch=2))
    lspet(train_share=0.8).attach(bodies.body(0), tmp_path / "head")
    with pytest.raises(WeightsError, match="made of train_images 4, but 2 is wanted; use the options that the head"):
        lspet(train_share=0.4).attach(bodies.body(0), tmp_path / "head")
    table = scipy.io.loadmat(lspet_folder / "joints.mat")["joints"]
    table[:, :, 5] = table[:, :, 0]
    scipy.io.savemat(lspet_folder / "joints.mat", {"joints": table})
    (lspet_folder / "images" / "im00001.jpg").rename(lspet_folder / "images" / "im00006.jpg")
    with pytest.raises(WeightsError, match=r"made of annotations .*, but .* is wanted"):
        lspet(train_share=0.8).attach(bodies.body(0), tmp_path / "head")


def test_synthetic_images_are_never_measured_and_trained_on(task, bodies, tmp_path):
    train(task, bodies, tmp_path / "head", METHODS["swap"])
    pose_task(train_images=30, val_images=4).attach(bodies.body(0), tmp_path / "head")
    with pytest.raises(WeightsError, match="made of data_seed 0, but 1 is wanted"):
        pose_task(data_seed=1).attach(bodies.body(0), tmp_path / "head")
    with pytest.raises(OptionError, match=r"option 'train_images' is .* at most 1e\+07"):
        build_options(PoseOptions, {"train_images": f"{VALIDATION_OFFSET + 1}"})


def test_a_head_of_another_family_or_damaged_is_refused(task, bodies, tiny_backbone, tmp_path):
    train(task, bodies, tmp_path / "head", METHODS["swap"])
    with pytest.raises(WeightsError, match=r"made of levels \[\[4, 4\], \[6, 8\], \[8, 16\]\], but \[\[8, 4\]"):
        task.attach(tiny_backbone((Level(8, 4), Level(6, 8), Level(8, 16))), tmp_path / "head")
    weights = tmp_path / "head" / "head.safetensors"
    state = load_file(weights)
    save_file({name: value for name, value in state.items() if name != "heat_maps.bias"}, weights)
    with pytest.raises(WeightsError, match=r"tensor 'heat_maps.bias' has shape none, the head needs \(14,\)"):
        task.attach(bodies.body(0), tmp_path / "head")
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(WeightsError, match=r"head.safetensors is damaged .* train the head anew"):
        task.attach(bodies.body(0), tmp_path / "head")
    weights.unlink()
    with pytest.raises(WeightsError, match=r"head.safetensors does not exist; train the head anew"):
        task.attach(bodies.body(0), tmp_path / "head")
    with pytest.raises(WeightsError, match=r"head.json does not exist; give a folder that 'aiop head' finished"):
        task.attach(bodies.body(0), tmp_path)


def test_finetuning_goes_on_from_the_head_and_can_leave_the_body(task, bodies, tmp_path):
    train(task, bodies, tmp_path / "head", METHODS["swap"])
    for freeze in (True, False):
        model = task.attach(bodies.body(0), tmp_path / "head")
        start = {name: value.clone() for name, value in model.named_parameters()}
        options = SharedOptions(epochs=1, lr=1e-5, freeze_body=freeze)
        task.finetune(model, options, seed=3, device="cpu", progress=silent)
        changed = {name for name, value in model.named_parameters() if not torch.equal(value, start[name])}
        assert any(name.startswith("head.") for name in changed)
        assert any(name.startswith("backbone.") for name in changed) != freeze
        assert all(p.requires_grad for p in model.parameters())
        kept = model.head.heat_maps.weight - start["head.heat_maps.weight"]
        assert kept.abs().max() < 1e-3
    with pytest.raises(ContractError, match="give it what model"):
        task.finetune(nn.Identity(), options, seed=3, device="cpu", progress=silent)


def test_real_data_get_the_papers_numbers():
    real = resolve(PoseOptions(data="lsp", data_dir=Path("x")))
    cached = head_settings(HeadOptions(), real, cached=True)
    assert (cached.epochs, cached.batch, cached.schedule, HeadOptions().swap) == (5000, 256, "cosine", 10)
    assert (tune_settings(SharedOptions(), real).epochs, tune_settings(SharedOptions(), real).schedule) == (
        10,
        "cosine",
    )
    assert head_settings(HeadOptions(epochs=7, lr=0.5), real, cached=False).epochs == 7


def test_a_lesson_never_ends_repeats_and_teaches(task, tiny_backbone):
    lesson = task.lesson()
    backbone = tiny_backbone((Level(4, 4), Level(6, 8)))
    head = lesson.head(backbone.levels)
    batches, same = lesson.batches(seed=1, device="cpu"), lesson.batches(seed=1, device="cpu")
    other = next(lesson.batches(seed=2, device="cpu"))[0]
    for number in range(4):
        (images, target), (again, _) = next(batches), next(same)
        assert images.shape == (16, 3, 32, 32)
        assert torch.equal(images, again)
        assert number or not torch.equal(images, other)
    outputs = head(backbone(images))
    assert lesson.loss(outputs, target).item() == loss_of(outputs, target, task.settings).item()
    assert lesson.distance(outputs, outputs).item() == 0
    assert lesson.distance(outputs, outputs + 2).item() == pytest.approx(4)


def test_a_head_from_latents_serves_bodies_that_it_never_saw(tiny_bodies, tmp_path):
    """Bodies are one network with noise on its weights, as sub-networks of a supernet are."""

    class Kin(tiny_bodies):
        def body(self, number):
            common, own = super().body(0), super().body(number)
            with torch.no_grad():
                for mine, other in zip(common.parameters(), own.parameters(), strict=True):
                    mine.lerp_(other, 0.2)
            return common

    task = pose_task(train_images=64, val_images=32)
    levels = (Level(8, 4), Level(16, 8), Level(16, 16))
    bodies = Kin(levels=lambda number: levels)
    folder = tmp_path / "latents"
    folder.mkdir()
    collect_latents(task, bodies, folder, LatentsOptions(hold=4), device="cpu", progress=silent)
    for epochs in (1, 30):
        train(task, bodies, tmp_path / f"head{epochs}", HeadOptions(epochs=epochs, batch=16, lr=1e-2), folder)
    patches = task.stores[1].get(range(32))

    def loss(epochs, number):
        model = task.attach(bodies.body(number), tmp_path / f"head{epochs}").eval()
        with torch.no_grad():
            maps = model(normalised(patches.images, "cpu"))
            return loss_of(maps, patches, task.settings).item()

    for unseen in (1000, 1001, 1002):
        assert loss(30, unseen) < 0.95 * loss(1, unseen)


def test_the_plugin_keeps_the_promises_of_sharing():
    registry = PluginRegistry([PluginSource("hpe", "aiop-task-hpe", "0.1", lambda: plugin)])
    found = registry.get("task", "hpe2d").registration
    options = HeadOptions(epochs=1, batch=8)
    make = MakeHead(pose_task(), found.latents_options(), options, found.shared_options(epochs=1))
    for check in SHARING_CHECKS:
        check(make)
