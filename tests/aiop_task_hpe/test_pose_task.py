"""The task: labels that mean something, repeat for a seed, and fail loudly."""

import math
import shutil
import subprocess
import sys

import pytest
import scipy.io
import torch
from torch import nn

from aiop_core.contracts import Level, silent
from aiop_core.errors import ContractError, DataError, LabelError, OptionError
from aiop_core.plugins import PluginRegistry, PluginSource
from aiop_task_hpe import plugin
from aiop_task_hpe.options import PoseOptions, resolve
from aiop_task_hpe.pck import pck
from aiop_task_hpe.task import PoseTask
from aiop_task_hpe.training import rate

SMALL = (Level(24, 4), Level(48, 8), Level(64, 16))
CRIPPLED = (Level(2, 4), Level(2, 8), Level(2, 16))
QUICK = PoseOptions(train_images=32, val_images=16, batch=8, filters=16)


@pytest.fixture(scope="module")
def task():
    task = PoseTask(PoseOptions(train_images=480, val_images=200, filters=32, batch=8, lr=6e-3))
    task.prepare()
    return task


def trained(task, backbone, seed=0, progress=silent):
    model = task.model(backbone)
    task.train(model, seed=seed, device="cpu", progress=progress)
    return model


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_training_beats_no_training_and_the_mean_pose_and_width_beats_none(task, tiny_backbone):
    untrained = task.evaluate(task.model(tiny_backbone(SMALL)), device="cpu")["val_PCK"]
    good = task.evaluate(trained(task, tiny_backbone(SMALL)), device="cpu")["val_PCK"]
    poor = task.evaluate(trained(task, tiny_backbone(CRIPPLED)), device="cpu")["val_PCK"]
    val = task.stores[1].get(range(200))
    mean_pose = task.stores[0].get(range(480)).joints.mean(dim=0).expand_as(val.joints)
    constant = pck(mean_pose, val.joints, val.annotated).mean
    assert good > constant + 0.1
    assert good > untrained + 0.1
    assert good > poor + 0.06


def test_a_seed_repeats_and_another_differs(tiny_backbone):
    task = PoseTask(QUICK)
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(runs))
        runs.append(weights(trained(task, tiny_backbone(SMALL), seed)))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_dropout_repeats_too_and_the_global_generator_stays(tiny_backbone):
    task = PoseTask(QUICK)
    runs = []
    for start in (0, 1):
        torch.manual_seed(start)
        backbone = tiny_backbone(SMALL)
        backbone.blocks[0].append(nn.Dropout(0.5))
        before = torch.get_rng_state()
        runs.append(weights(trained(task, backbone)))
        assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(*runs)


def test_evaluation_repeats_and_gives_exactly_the_metrics(task, tiny_backbone):
    model = task.model(tiny_backbone(SMALL))
    first, second = (task.evaluate(model, device="cpu") for _ in range(2))
    assert first == second
    assert list(first) == [metric.name for metric in task.metrics] == ["val_PCK"]
    assert 0 <= first["val_PCK"] <= 1


def test_progress_counts_every_step(tiny_backbone):
    seen = []
    task = PoseTask(QUICK)
    trained(task, tiny_backbone(SMALL), progress=lambda done, total, note="": seen.append((done, total, note)))
    assert [done for done, _, _ in seen] == [1, 2, 3, 4]
    assert seen[-1][1] == 4
    assert seen[-1][2].startswith("loss ")


def test_batch_norm_statistics_are_measured_on_the_final_weights(tiny_backbone):
    """Without recalibration a short training leaves the running mean between its start and the truth."""
    means = []
    for batches in (0, 1):
        task = PoseTask(PoseOptions(train_images=32, val_images=16, batch=8, filters=16, recalibrate=batches))
        model = trained(task, tiny_backbone(SMALL))
        means.append(model.backbone.blocks[0][1].running_var.clone())
        assert model.backbone.blocks[0][1].momentum == 0.1
    assert not torch.allclose(means[0], means[1], rtol=0.05)


def test_flip_test_averages_with_the_mirrored_image(tiny_backbone):
    task = PoseTask(PoseOptions(train_images=8, val_images=16, filters=8, flip_test=True))
    plain = PoseTask(PoseOptions(train_images=8, val_images=16, filters=8))
    model = task.model(tiny_backbone(SMALL))
    with torch.no_grad():
        model.head.heat_maps.weight.mul_(1000)
    assert task.evaluate_in_detail(model, device="cpu") != plain.evaluate_in_detail(model, device="cpu")


class Exploding(nn.Module):
    levels = SMALL

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(math.inf))

    def forward(self, images):
        n, _, h, w = images.shape
        return [torch.ones(n, v.channels, h // v.stride, w // v.stride) * self.scale for v in self.levels]


def test_a_loss_that_is_not_finite_is_an_error_not_a_label():
    with pytest.raises(LabelError, match=r"the loss became nan in step 1 of 4 \(epoch 1\); lower lr, now 0.01"):
        trained(PoseTask(QUICK), Exploding())


def test_wrong_objects_are_explained():
    task = PoseTask(QUICK)
    with pytest.raises(ContractError, match=r"the backbone is a str; a task needs a torch.nn.Module"):
        task.model("resnet50")
    with pytest.raises(ContractError, match=r"train\(\) got a Identity; give it what model\(\) made"):
        task.train(nn.Identity(), seed=0, device="cpu", progress=silent)


def test_lsp_extended_from_folder_to_label(lspet_folder, tiny_backbone):
    options = PoseOptions(
        data="lsp_extended", data_dir=lspet_folder.parent, input_size=64, epochs=2, batch=2, filters=8, workers=2
    )
    task = PoseTask(options)
    task.prepare()
    assert [len(store) for store in task.stores] == [4, 1]
    assert set(task.evaluate(trained(task, tiny_backbone(SMALL)), device="cpu")) == {"val_PCK"}


def test_prepare_finds_a_bad_image_before_any_training(lspet_folder):
    file = lspet_folder / "images" / "im00003.jpg"
    file.write_bytes(file.read_bytes()[:400])
    with pytest.raises(DataError, match=r"im00003\.jpg"):
        PoseTask(PoseOptions(data="lsp_extended", data_dir=lspet_folder, input_size=64)).prepare()


def test_nobody_with_a_torso_is_an_error(lspet_folder, tiny_backbone):
    table = scipy.io.loadmat(lspet_folder / "joints.mat")["joints"]
    table[[2, 3], 2, :] = 0
    scipy.io.savemat(lspet_folder / "joints.mat", {"joints": table})
    task = PoseTask(PoseOptions(data="lsp_extended", data_dir=lspet_folder, input_size=64, filters=8))
    with pytest.raises(LabelError, match="no validation person has shoulder and hip annotated"):
        task.evaluate(task.model(tiny_backbone(SMALL)), device="cpu")


def test_schedules():
    cosine = resolve(PoseOptions(warmup=0.2))
    assert [round(rate(s, cosine), 3) for s in (0, 0.1, 0.2, 0.6, 1.0)] == [0.05, 0.5, 1.0, 0.5, 0.0]
    step = resolve(PoseOptions(schedule="step", warmup=0.0, lr_steps=(0.5, 0.75)))
    assert [round(rate(s, step), 3) for s in (0, 0.49, 0.5, 0.8)] == [1.0, 1.0, 0.1, 0.01]


def test_rmsprop_trains(tiny_backbone):
    task = PoseTask(PoseOptions(train_images=16, val_images=16, batch=8, filters=8, optimiser="rmsprop", lr=1e-3))
    model = task.model(tiny_backbone(SMALL))
    before = weights(model)
    task.train(model, seed=0, device="cpu", progress=silent)
    assert not torch.equal(before, weights(model))
    assert weights(model).isfinite().all()


def test_registered_and_made_from_texts():
    registry = PluginRegistry([PluginSource("hpe", "aiop-task-hpe", "0", lambda: plugin)])
    made = registry.create("task", "hpe2d", {"input-size": "96"})
    assert made.input_hw == (96, 96)


def test_plugin_imports_nothing_heavy():
    code = "import sys, aiop_task_hpe.plugin; print(sorted({'torch', 'PIL', 'scipy'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_an_input_between_two_strides_is_refused(tiny_backbone):
    with pytest.raises(OptionError, match=r"size 72 is not a multiple of 16, the stride of .* level; give 64 or 80"):
        PoseTask(PoseOptions(input_size=72)).model(tiny_backbone(SMALL))


def test_the_fingerprint_says_who_is_on_which_side_wherever_the_folder_lies(lspet_folder, tmp_path):
    def fingerprint(folder, **options):
        return PoseTask(PoseOptions(data="lsp_extended", data_dir=folder, input_size=32, **options)).fingerprint()

    assert PoseTask(PoseOptions(train_images=3)).fingerprint() == ""
    first = fingerprint(lspet_folder)
    assert len(first) == 16
    copied = shutil.copytree(lspet_folder, tmp_path / "elsewhere")
    assert fingerprint(copied) == first
    assert fingerprint(copied, train_share=0.6) != first
    (copied / "images" / "im00002.jpg").rename(copied / "images" / "im00007.jpg")
    assert fingerprint(copied) != first
    table = scipy.io.loadmat(lspet_folder / "joints.mat")["joints"]
    table[3, 0, 4] += 1
    scipy.io.savemat(lspet_folder / "joints.mat", {"joints": table})
    assert fingerprint(lspet_folder) != first


def test_open_options_are_told():
    told = PoseTask(PoseOptions(epochs=7)).resolved()
    assert (told["epochs"], told["batch"], told["head"]) == (7, 16, "skip")
    assert None not in {value for name, value in told.items() if not isinstance(value, list) and name != "data_dir"}
