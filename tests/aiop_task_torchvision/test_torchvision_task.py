"""The task: conforms, learns, repeats for a seed, and fails loudly."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch
from torch import nn

from aiop_core.contracts import silent
from aiop_core.errors import ContractError, DataError, LabelError
from aiop_core.plugins import PluginRegistry, PluginSource
from aiop_core.testing import conformance_tests
from aiop_task_torchvision import plugin
from aiop_task_torchvision.options import resolve
from aiop_task_torchvision.task import TorchvisionTask
from aiop_task_torchvision.training import rate

REGISTRATION = plugin.aiop_register_tasks()[0]
SMALL = {
    "train_images": 8,
    "val_images": 4,
    "image_size": 64,
    "channels": 8,
    "box_width": 16,
    "mask_width": 8,
    "mask_depth": 1,
    "sampled_boxes": 16,
    "train_proposals": 20,
    "proposals": 20,
    "detections": 10,
    "epochs": 1,
    "batch": 4,
}


@pytest.fixture(autouse=True)
def in_the_cache(cache, monkeypatch):
    monkeypatch.setenv("AIOP_CACHE", str(cache))
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)


@conformance_tests("task", REGISTRATION, SMALL)
def test_conforms(check):
    check.run()


@conformance_tests("task", REGISTRATION, SMALL | {"parts": "sem_seg"})
def test_one_part_conforms(check):
    check.run()


def trained(task, backbone, seed=0, progress=silent):
    model = task.model(backbone)
    task.train(model, seed=seed, device="cpu", progress=progress)
    return model


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_it_learns_what_it_is_shown(make_task, tiny_backbone):
    """Measured on the four images that it was trained on, which is quick to learn."""
    sizes = {"channels": 32, "box_width": 64, "mask_width": 32, "sampled_boxes": 32}
    task = make_task(epochs=40, lr=5e-3, warmup=0, flip=0.0, **sizes)
    task._images = (task.images[1], task.images[1])
    before = task.evaluate(task.model(tiny_backbone()), device="cpu")
    after = task.evaluate(trained(task, tiny_backbone()), device="cpu")
    assert max(before.values()) < 0.1
    assert after["obj_det_AP"] > 0.3
    assert after["inst_seg_AP"] > 0.2
    assert after["sem_seg_mIoU"] > 0.3


def test_a_seed_repeats_whatever_the_model_was_and_another_differs(make_task, tiny_backbone):
    task, runs = make_task(), []
    for seed in (1, 1, 2):
        torch.manual_seed(len(runs))
        before = torch.get_rng_state()
        model = task.model(tiny_backbone())
        with torch.no_grad():
            model.heads.rpn.head.cls_logits.weight.add_(len(runs))
        task.train(model, seed=seed, device="cpu", progress=silent)
        runs.append(weights(model))
        assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_progress_counts_every_step(make_task, tiny_backbone):
    seen = []
    task = make_task(epochs=2, batch=3)
    trained(task, tiny_backbone(), progress=lambda done, total, note="": seen.append((done, total, note)))
    assert [done for done, _, _ in seen] == [1, 2, 3, 4]
    assert seen[-1][1] == 4
    assert seen[-1][2].startswith("loss ")


def test_both_optimisers_train(make_task, tiny_backbone):
    for optimiser, lr in (("sgd", 1e-3), ("adamw", 1e-3)):
        task = make_task(optimiser=optimiser, lr=lr, schedule="step")
        before = weights(task.model(tiny_backbone()))
        after = weights(trained(task, tiny_backbone()))
        assert after.isfinite().all()
        assert not torch.equal(before, after)


def test_schedules(options):
    cosine = resolve(options)
    assert [round(rate(s, 100, 10, cosine), 3) for s in (0, 5, 50, 100)] == [0.001, 0.497, 0.5, 0.0]
    step = resolve(type(options)(**asdict(options) | {"schedule": "step", "lr_steps": (0.5, 0.75)}))
    assert [round(rate(s, 100, 0, step), 3) for s in (0, 49, 50, 80)] == [1.0, 1.0, 0.1, 0.01]


class Broken(nn.Module):
    """A body whose features are infinite, or for which there is no memory."""

    def __init__(self, levels, error=None):
        super().__init__()
        self.levels, self.error = levels, error
        self.scale = nn.Parameter(torch.tensor(math.inf))

    def forward(self, images):
        if self.error:
            raise self.error
        n, _, h, w = images.shape
        return [torch.ones(n, v.channels, h // v.stride, w // v.stride) * self.scale for v in self.levels]


def test_a_loss_that_is_not_finite_is_an_error_not_a_label(make_task, tiny_backbone):
    with pytest.raises(LabelError, match=r"the loss became nan in step 1 of 2 \(epoch 1\); lower lr, now 0.00"):
        trained(make_task(), Broken(tiny_backbone().levels))


def test_too_little_memory_suggests_the_batch(make_task, tiny_backbone):
    task = make_task()
    broken = Broken(tiny_backbone().levels, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"))
    with pytest.raises(LabelError, match=r"cpu has too little memory for batch 4 at min_size 64; give a smaller batch"):
        trained(task, broken)
    with pytest.raises(LabelError, match="give a smaller batch"):
        task.evaluate(task.model(broken), device="cpu")


def test_wrong_objects_are_explained(make_task):
    task = make_task()
    with pytest.raises(ContractError, match=r"the backbone is a str; a task needs a torch.nn.Module"):
        task.model("resnet50")
    for call in (
        lambda: task.train(nn.Identity(), seed=0, device="cpu", progress=silent),
        lambda: task.evaluate(nn.Identity(), device="cpu"),
        lambda: task.graphs(nn.Identity()),
    ):
        with pytest.raises(ContractError, match=r"the task got a Identity; give it what model\(\) made"):
            call()


def test_real_data_are_found_by_option_or_variable(make_task, coco_folder, monkeypatch):
    for call in (lambda: make_task(data="coco").prepare(), lambda: make_task(data="coco").check_data()):
        with pytest.raises(
            DataError, match="needs the folder that holds coco/; give it by data_dir or the variable DE"
        ):
            call()
    monkeypatch.setenv("DETECTRON2_DATASETS", str(coco_folder))
    task = make_task(data="coco")
    task.prepare()
    assert [len(images) for images in task.images] == [8, 4]
    assert task.categories.things == ("ball", "crate", "tent", "flower")


def test_graphs_of_coco_need_no_images(make_task, tiny_backbone):
    task = make_task(data="coco", min_size=64, max_size=64)
    model = task.model(tiny_backbone())
    assert set(task.graphs(model)) == {"obj_det_AP", "inst_seg_AP", "sem_seg_mIoU"}
    assert model.heads.roi_heads.box_predictor.cls_score.out_features == 81
    assert model.heads.semantic.fcn[-1].out_channels == 54


def test_the_fingerprint_says_which_images_wherever_they_lie(make_task, coco_task, coco_folder, tmp_path):
    assert make_task().fingerprint() == ""
    first = coco_task().fingerprint()
    moved = shutil.copytree(coco_folder, tmp_path / "elsewhere")
    assert make_task(data="coco", data_dir=moved).fingerprint() == first
    file = moved / "coco" / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][0] += 1
    file.write_text(json.dumps(content))
    assert make_task(data="coco", data_dir=moved).fingerprint() != first


def test_check_says_what_is_missing_and_the_sheet_shows_the_rest(coco_task, coco_folder, make_task, tmp_path):
    assert all(finding.found for finding in make_task().check_data())
    make_task().draw_data(tmp_path / "sheet.png", count=3)
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    (coco_folder / "coco" / "annotations" / "panoptic_val2017.json").unlink()
    lacking = {f.name: f for f in coco_task().check_data() if f.found is None}
    assert lacking["annotations/panoptic_val2017.json"].required
    boxes = {f.name: f for f in coco_task(parts=("obj_det",)).check_data() if f.found is None}
    assert not any(finding.required for finding in boxes.values())
    (coco_folder / "coco" / "annotations" / "instances_val2017.json").unlink()
    pixels = {f.name: f for f in coco_task(parts=("sem_seg",)).check_data() if f.found is None}
    assert pixels["annotations/instances_val2017.json"].required, "it lists the images"
    spare = make_task(data_dir=coco_folder).check_data()
    assert not any(finding.required for finding in spare)


def test_from_the_command_line_to_labels(aiop, sources, tmp_path):
    sources.append(PluginSource("torchvision", "aiop-task-torchvision", "0", lambda: plugin))
    flags = [f for name, value in SMALL.items() for f in (f"--task.{name.replace('_', '-')}", value)]
    chosen = ["--task", "torchvision", "--family", "reference"]
    done = aiop("label", *chosen, "--count", 2, "--out", tmp_path / "run", "--device", "cpu", *flags, "--json")
    assert done.code == 0, done.err
    assert all(name in done.out for name in ("obj_det_AP", "inst_seg_AP", "sem_seg_mIoU"))


def test_registered_and_made_from_texts():
    registry = PluginRegistry([PluginSource("torchvision", "aiop-task-torchvision", "0", lambda: plugin)])
    made = registry.create("task", "torchvision", {"image-size": "96", "parts": "sem_seg"})
    assert isinstance(made, TorchvisionTask)
    assert made.input_hw == (96, 96)
    assert [metric.name for metric in made.metrics] == ["sem_seg_mIoU"]


def test_plugin_imports_nothing_heavy():
    code = (
        "import sys, aiop_task_torchvision.plugin; "
        "print(sorted({'torch', 'torchvision', 'numpy', 'PIL', 'pycocotools'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_open_options_are_told(make_task):
    told = json.loads(json.dumps(make_task(epochs=7).resolved()))
    assert told["epochs"] == 7
    assert told["lr"] is not None
