"""Training of shared weights: what is computed, what is learnt, what survives a kill."""

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call

from aiop_core.contracts import silent
from aiop_core.errors import DataError, OptionError, WeightsError
from aiop_core.sharing.norms import recalibrate
from aiop_family_ofa import supernet_training
from aiop_family_ofa.channel_order import sort_channels
from aiop_family_ofa.family import create
from aiop_family_ofa.mobile import mobilenet_v3, proxyless
from aiop_family_ofa.networks import Network
from aiop_family_ofa.options import MobileNetV3Options, ProxylessOptions, ResNetOptions
from aiop_family_ofa.resnet import ResNetSpace
from aiop_family_ofa.shrinking import ALL, Elastic, phase_at
from aiop_family_ofa.students import Students
from aiop_family_ofa.training_options import TrainingOptions
from aiop_family_ofa.weights import Supernet

SPACES = [proxyless(), mobilenet_v3(), ResNetSpace()]
OPTIONS = TrainingOptions(steps=4, networks=1, lr=3e-3, warmup=0.0)


class Brightness:
    """A lesson: how bright each colour of a patch of noise is, from all levels."""

    def head(self, levels):
        class Head(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(sum(level.channels for level in levels), 3)

            def forward(self, features):
                assert [x.shape[1] for x in features] == [level.channels for level in levels]
                return self.linear(torch.cat([x.mean((2, 3)) for x in features], dim=1))

        return Head()

    def batches(self, *, seed, device):
        generator = torch.Generator().manual_seed(seed)
        while True:
            target = 2 + torch.randn(4, 3, generator=generator)
            noise = torch.randn(4, 3, 32, 32, generator=generator)
            yield (target[:, :, None, None] + 0.3 * noise).to(device), target.to(device)

    def loss(self, outputs, target):
        return nn.functional.mse_loss(outputs, target)

    def distance(self, outputs, teacher):
        return nn.functional.mse_loss(outputs, teacher)


def train(space, out, options=OPTIONS, lesson=None, progress=silent):
    out.mkdir(exist_ok=True)
    lesson = lesson or Brightness()
    return supernet_training.train(space, lesson, out, options, seed=0, device="cpu", progress=progress)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("supernet") / "out"
    train(proxyless(), out)
    return out


# --- Slices -------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.title)
def test_slices_compute_what_a_filled_module_does(space):
    supernet = Supernet.random(space, seed=1)
    architecture = space.smallest(ALL)
    filled = Network(space.plan(architecture)).eval()
    supernet.fill(filled)
    with torch.device("meta"):
        empty = Network(space.plan(architecture)).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(functional_call(empty, supernet.sliced(empty), (images,)), filled(images))


def test_gradients_reach_kernel_matrices_and_shared_channels():
    students = Students(proxyless(), Brightness(), seed=0, device="cpu")
    architecture = proxyless().smallest(ALL)
    images, target = next(Brightness().batches(seed=0, device="cpu"))
    Brightness().loss(students.outputs(architecture, images), target).backward()
    tensors = students.supernet.tensors
    for matrix in ("7to5", "5to3"):
        assert tensors[f"blocks.1.depth_conv.conv.{matrix}_matrix"].grad.abs().sum() > 0
    reached = tensors["blocks.1.inverted_bottleneck.conv.weight"].grad.abs().sum((1, 2, 3)) > 0
    assert reached[:72].all()
    assert not reached[72:].any()
    assert tensors["blocks.4.depth_conv.conv.weight"].grad is None
    assert tensors["blocks.1.point_linear.bn.running_mean"].abs().sum() > 0
    assert next(students.head.parameters()).grad is not None


def test_narrow_features_are_padded_for_the_head():
    space = ResNetSpace()
    students = Students(space, Brightness(), seed=0, device="cpu")
    with torch.no_grad():
        assert students.outputs(space.smallest(ALL), torch.zeros(2, 3, 32, 32)).shape == (2, 3)


# --- Training -----------------------------------------------------------------------


def test_the_loss_falls_and_the_result_loads(trained):
    report = json.loads((trained / "supernet.json").read_text())
    assert sorted(report["after"]) == ["largest", "random 1", "random 2", "random 3", "smallest"]
    assert report["after"]["largest"] < report["before"]["largest"]
    assert [point["step"] for point in report["curve"]] == [0, 1, 2, 3]
    assert sorted(path.name for path in trained.iterdir()) == ["images.pth", "supernet.json", "supernet.pth"]
    state = torch.load(trained / "supernet.pth", weights_only=True)
    family = create(ProxylessOptions(weights=str(trained / "supernet.pth")))
    architecture = family.parse(proxyless().smallest(ALL).spec)
    body = family.backbone(architecture).state_dict()
    wide = state["blocks.1.conv.inverted_bottleneck.conv.conv.weight"]
    assert torch.equal(body["blocks.1.inverted_bottleneck.conv.weight"], wide[:72])
    assert not torch.equal(wide, Supernet.random(proxyless(), 0).tensors["blocks.1.inverted_bottleneck.conv.weight"])


def test_a_folder_gives_each_body_its_own_statistics(trained):
    spec = proxyless().smallest(ALL).spec
    made = [create(ProxylessOptions(weights=str(path))) for path in (trained, trained / "supernet.pth")]
    own, mixed = (family.backbone(family.parse(spec)) for family in made)
    images = torch.load(trained / "images.pth", weights_only=True)
    assert images.shape == (64, 3, 32, 32)
    recalibrate(mixed, images.float().split(32))
    different = create(ProxylessOptions(weights=str(trained / "supernet.pth"))).backbone(made[1].parse(spec))
    name = "blocks.1.point_linear.bn.running_var"
    assert torch.equal(own.state_dict()[name], mixed.state_dict()[name])
    assert not torch.equal(own.state_dict()[name], different.state_dict()[name])


@pytest.mark.parametrize(("damage", "said"), [(Path.unlink, "are missing"), (Path.touch, "are damaged")])
def test_images_beside_the_weights_must_be_there(trained, tmp_path, damage, said):
    (tmp_path / "supernet.pth").symlink_to(trained / "supernet.pth")
    (tmp_path / "images.pth").touch()
    damage(tmp_path / "images.pth")
    family = create(ProxylessOptions(weights=str(tmp_path)))
    with pytest.raises(
        WeightsError, match=rf"images '.*images.pth' {said}; repeat .*without training, or name 'supernet.pth' itself"
    ):
        family.backbone(proxyless().largest)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.title)
def test_weights_are_called_as_in_the_library(space, oracle):
    name = "ofa_" + ("resnet" if "resnet" in space.title else "mbv3" if "mbv3" in space.title else "pn")
    theirs = oracle(name).supernet.state_dict()
    ours = Supernet.random(space, 0).published(space)
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in theirs.items()}


def test_a_killed_training_ends_as_an_uninterrupted_one(trained, tmp_path):
    def kill(done, total, note=""):
        if done == 3:
            raise KeyboardInterrupt

    options = replace(OPTIONS, save_every=0.0)
    with pytest.raises(KeyboardInterrupt):
        train(proxyless(), tmp_path, options, progress=kill)
    assert (tmp_path / "training.pth").exists()
    steps = []
    train(proxyless(), tmp_path, options, progress=lambda done, total, note="": steps.append(done))
    assert steps == [3, 4]  # the checkpoint of the third step was not written any more
    whole, resumed = (torch.load(f / "supernet.pth", weights_only=True) for f in (trained, tmp_path))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    first, second = (json.loads((f / "supernet.json").read_text()) for f in (trained, tmp_path))
    assert [first[key] for key in ("before", "after", "curve")] == [second[key] for key in ("before", "after", "curve")]


def test_a_finished_training_is_not_repeated(trained):
    def never(done, total, note=""):
        raise AssertionError

    assert train(proxyless(), trained, progress=never).values["loss_largest"] > 0


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"half")])
def test_images_are_written_again_without_training(trained, tmp_path, damage):
    for name in ("supernet.pth", "supernet.json"):
        (tmp_path / name).symlink_to(trained / name)
    (tmp_path / "images.pth").touch()
    damage(tmp_path / "images.pth")
    steps = []
    train(proxyless(), tmp_path, progress=lambda *_: steps.append(_))
    whole, again = (torch.load(folder / "images.pth", weights_only=True) for folder in (trained, tmp_path))
    assert torch.equal(whole, again)
    assert not steps


@pytest.mark.parametrize(
    ("change", "said"), [({"lr": 1.0}, "lr was 0.003, now it is 1.0"), ({"steps": 5}, "steps was 4")]
)
def test_other_options_need_another_folder(trained, change, said):
    with pytest.raises(DataError, match=rf"supernet.json' is of another training: {said}"):
        train(proxyless(), trained, replace(OPTIONS, **change))


def test_damaged_files(trained, tmp_path):
    (tmp_path / "training.pth").write_bytes(b"PK half of it")
    with pytest.raises(DataError, match=r"training.pth' is damaged; delete it"):
        train(proxyless(), tmp_path)
    (tmp_path / "supernet.pth").touch()
    (tmp_path / "supernet.json").write_text("{")
    with pytest.raises(DataError, match=r"supernet.json' is damaged \(.*\); delete it"):
        train(proxyless(), tmp_path)


def test_a_full_disk(tmp_path):
    part = tmp_path / f"training.pth.{os.getpid()}.part"
    part.symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"training.pth' cannot be written: No space left on device; mend that"):
        train(proxyless(), tmp_path, replace(OPTIONS, save_every=0.0))
    assert not any(tmp_path.iterdir())


def test_a_loss_that_is_not_finite(tmp_path):
    lesson = Brightness()
    lesson.loss = lambda outputs, target: (outputs - target).mean() * torch.inf
    with pytest.raises(WeightsError, match=r"the loss became (nan|-?inf) in step 1; lower lr, now 0.003"):
        train(proxyless(), tmp_path, lesson=lesson)


def test_nothing_or_too_much_to_learn_from(tmp_path):
    with pytest.raises(DataError, match="there is nothing to learn from; give a task, or images"):
        create(ResNetOptions()).train_supernet(None, tmp_path, OPTIONS, seed=0, device="cpu", progress=silent)
    with pytest.raises(OptionError, match=r"a task and images '.*' were given"):
        train(proxyless(), tmp_path, replace(OPTIONS, images=tmp_path))


# --- Progressive shrinking ----------------------------------------------------------


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.title)
def test_phases_open_the_space_bit_by_bit(space):
    assert space.smallest(space.phases[0].elastic) == space.largest
    assert space.phases[-1].elastic == ALL
    assert phase_at(space.phases, 0.0) is space.phases[0]
    assert phase_at(space.phases, 0.999) is space.phases[-1]
    sizes = [sum(t.numel() for t in Network(space.plan(space.smallest(p.elastic))).parameters()) for p in space.phases]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.title)
def test_sorting_channels_changes_no_open_network(space):
    supernet = Supernet.random(space, seed=1)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in supernet.tensors.items():
        if "bn." in name:
            tensor.uniform_(0.5, 1.5, generator=generator)
        supernet.tensors[name] = tensor.double()
    wide = Elastic(ratios=2, widths=1)
    nets = [space.largest, space.smallest(wide)]
    images = torch.randn(2, 3, 32, 32, generator=generator, dtype=torch.float64)

    def outputs():
        modules = [Network(space.plan(a)).eval() for a in nets]
        with torch.no_grad():
            return [functional_call(m, supernet.sliced(m), (images,)) for m in modules]

    before = outputs()
    beside = {id(tensor): tensor.clone() for tensor in supernet.tensors.values()}
    sort_channels(supernet, space, wide, lambda tensor: [beside[id(tensor)]])
    for old, new in zip(before, outputs(), strict=True):
        torch.testing.assert_close(old, new)
    assert all(torch.equal(tensor, beside[id(tensor)]) for tensor in supernet.tensors.values())
    reader = "blocks.1.conv3.conv.weight" if space == ResNetSpace() else "blocks.1.point_linear.conv.weight"
    kept = space.plan(space.smallest(wide)).blocks[1].hidden
    worth = supernet.tensors[reader].abs().sum((0, 2, 3))
    assert (worth[:kept].diff() <= 0).all()
    assert (worth[kept:].diff() <= 0).all()


def test_progressive_training_passes_all_phases(tmp_path):
    notes = []
    options = replace(OPTIONS, steps=7, networks=0, shrinking="progressive")
    train(proxyless(), tmp_path, options, progress=lambda done, total, note="": notes.append(note.split(":")[0]))
    assert list(dict.fromkeys(notes)) == ["largest", "kernel", "depth", "width"]


def test_a_mobile_net_learns_with_adam(tmp_path):
    family = create(MobileNetV3Options(width=1.0))
    options = TrainingOptions(steps=2, networks=0, optimiser="adam", lr=1e-3)
    report = family.train_supernet(Brightness(), tmp_path, options, seed=0, device="cpu", progress=silent)
    assert {"loss_largest", "loss_smallest", "seconds"} <= set(report.values)
    family = create(MobileNetV3Options(width=1.0, weights=str(tmp_path / "supernet.pth")))
    assert len(family.backbone(family.sample(1, seed=0)[0]).eval()(torch.zeros(1, 3, 32, 32))) == 5


def test_batches_do_not_depend_on_where_a_training_was_resumed(monkeypatch):
    monkeypatch.setattr(supernet_training, "ROUND", 3)
    whole = list(itertools.islice(supernet_training._stream(Brightness(), 0, 5, "cpu"), 8))
    for start in (1, 3, 5):
        images, _ = next(supernet_training._stream(Brightness(), start, 5, "cpu"))
        assert torch.equal(images, whole[start][0])
    assert not torch.equal(whole[0][0], whole[3][0])
