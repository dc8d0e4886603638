"""The task: conforms, measures four metrics or some, and labels that its commands can use."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from torch import nn

from aiop_core.contracts import silent
from aiop_core.errors import ContractError, LabelError, PluginError
from aiop_core.plugins import PluginRegistry, PluginSource
from aiop_core.records.cache import GraphCache
from aiop_core.records.store import LabelStore
from aiop_core.testing import conformance_tests, reference
from aiop_core.testing.tasks import TASK_CHECKS
from aiop_task_detectron2 import plugin
from aiop_task_detectron2.options import Detectron2Options

REGISTRATION = plugin.aiop_register_tasks()[0]
METRICS = ["obj_det_AP", "inst_seg_AP", "sem_seg_mIoU", "pan_seg_PQ"]
FLAGS = {"train-images": 4, "val-images": 2, "input-size": 64, "iterations": 1, "batch": 2, "channels": 16}


@pytest.fixture
def make_task(detectron2, quick):
    from aiop_task_detectron2.task import Detectron2Task

    return lambda **options: Detectron2Task(quick(**options))


@pytest.fixture
def sources(detectron2):
    return [
        PluginSource("detectron2", "aiop-task-detectron2", "0", lambda: plugin),
        PluginSource("reference", "aiop-reference", "0.1", lambda: reference),
    ]


@pytest.fixture
def cache(quick, monkeypatch):
    """Where commands find drawn images."""
    monkeypatch.setenv("AIOP_CACHE", str(quick().cache_dir))


@conformance_tests(
    "task",
    REGISTRATION,
    {name.replace("-", "_"): value for name, value in FLAGS.items()},
    uses={use: {"iterations": 1, "batch": 2} for use in ("head", "shared")},
)
def test_conforms(check, detectron2, cache):
    check.run()


@pytest.mark.parametrize("check", TASK_CHECKS, ids=lambda check: check.__name__)
def test_one_part_conforms(make_task, tiny_body, check):
    check(make_task(parts=("sem_seg",), train_images=4, val_images=2, iterations=1), tiny_body)


def measured(task, body):
    model = task.model(body)
    task.train(model, seed=0, device="cpu", progress=silent)
    return task.evaluate_in_detail(model, device="cpu")


@pytest.mark.parametrize(
    ("parts", "kind", "heads"),
    [
        (("obj_det",), "GeneralizedRCNN", ("rpn", "box")),
        (("inst_seg", "obj_det"), "GeneralizedRCNN", ("rpn", "box", "mask")),
        (("sem_seg",), "SemanticSegmentor", ("semantic",)),
        (("pan_seg", "sem_seg", "inst_seg", "obj_det"), "PanopticFPN", ("rpn", "box", "mask", "semantic")),
    ],
)
def test_parts_choose_the_detector_and_its_metrics(make_task, tiny_body, parts, kind, heads):
    task = make_task(parts=parts)
    names = [name for name in METRICS if name.rpartition("_")[0] in parts]
    assert [metric.name for metric in task.metrics] == names
    model = task.model(tiny_body())
    assert type(model.detector).__name__ == kind
    assert model.heads == heads
    assert list(task.graphs(model)) == names
    values, details = measured(task, tiny_body())
    assert list(values) == names
    assert all(0 <= value <= 1 for value in values.values())
    assert all(0 <= value <= 1 for value in details.values())


def test_metrics_see_what_is_learnt(make_task, tiny_body):
    """Measured on the images that it learns from, which is quick."""
    task = make_task(
        train_images=4, iterations=60, batch=4, lr=0.02, overrides="INPUT.RANDOM_FLIP none SOLVER.WARMUP_ITERS 5"
    )
    task._data = (task.data[0], task.data[0])
    before = task.evaluate(task.model(tiny_body()), device="cpu")
    after, _ = measured(task, tiny_body())
    assert max(before.values()) < 0.2
    assert after["sem_seg_mIoU"] > before["sem_seg_mIoU"] + 0.1
    assert after["pan_seg_PQ"] > 0.02


def test_data_are_opened_once(make_task, tiny_body, monkeypatch):
    from aiop_task_detectron2 import task as module

    calls, real = [], module.open_data
    monkeypatch.setattr(module, "open_data", lambda *given: calls.append(given) or real(*given))
    task = make_task(parts=("sem_seg",))
    task.graphs(task.model(tiny_body()))
    task.prepare()
    measured(task, tiny_body())
    assert len(calls) == 1


def test_graphs_of_coco_need_no_data(make_task, tiny_body, monkeypatch):
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    task = make_task(data="coco")
    assert (task.cfg.MODEL.ROI_HEADS.NUM_CLASSES, task.cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES) == (80, 54)
    assert list(task.graphs(task.model(tiny_body()))) == METRICS


def test_the_fingerprint_is_of_annotations_and_config(make_task, quick, coco, drawn, tmp_path):
    def real(folder=coco, **options):
        return make_task(data="coco", data_dir=folder, parts=("obj_det",), **options).fingerprint()

    assert make_task(train_images=5).fingerprint() == make_task(train_images=6, workers=1).fingerprint()
    assert make_task(iterations=5).fingerprint() != make_task().fingerprint()
    first = real()
    assert len(first) == 16
    assert real(drawn) == real(coco / "coco") == first
    assert real(workers=1) == first
    file = tmp_path / "more.yaml"
    seen = {first}
    for value in (3, 4):
        file.write_text(f"SOLVER: {{WARMUP_ITERS: {value}}}\n")
        assert real(config_file=file) == real(config_file=file, workers=1)
        seen |= {real(config_file=file), make_task(config_file=file).fingerprint()}
    path = coco / "coco" / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"][0] += 1
    path.write_text(json.dumps(content))
    seen.add(real())
    assert len(seen) == 6


def test_wrong_objects_are_explained(make_task):
    task = make_task()
    with pytest.raises(ContractError, match=r"the backbone is a str; a task needs a torch.nn.Module"):
        task.model("resnet50")
    for call in (lambda m: task.evaluate(m, device="cpu"), task.graphs):
        with pytest.raises(ContractError, match=r"the model is a Identity; give what model\(\) made"):
            call(nn.Identity())


def test_an_error_of_the_data_comes_before_any_training(make_task, coco):
    (coco / "coco" / "annotations" / "instances_val2017.json").unlink()
    from aiop_core.errors import DataError

    with pytest.raises(DataError, match=r"instances_val2017.json is missing"):
        make_task(data="coco", data_dir=coco).prepare()


# --- Without detectron2 -----------------------------------------------------------


def test_nothing_imports_detectron2_before_the_task_is_created():
    code = (
        "import sys, click, aiop_core.plugins as p, aiop_task_detectron2.plugin as plugin\n"
        "registry = p.PluginRegistry([p.PluginSource('d', 'd', '0', lambda: plugin)])\n"
        "registry.names('task'); plugin.aiop_register_requirements()\n"
        "print(sorted({'torch', 'detectron2', 'fvcore', 'pycocotools', 'numpy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_missing_detectron2_is_one_line(monkeypatch):
    from aiop_task_detectron2 import installed

    real = installed.util.find_spec
    monkeypatch.setattr(installed.util, "find_spec", lambda name: None if name == "detectron2" else real(name))
    registry = PluginRegistry([PluginSource("detectron2", "aiop-task-detectron2", "0", lambda: plugin)])
    with pytest.raises(PluginError, match=r"detectron2 is not installed; install it for the torch at hand: ") as caught:
        registry.create("task", "detectron2")
    assert "\n" not in str(caught.value)


# --- The commands -----------------------------------------------------------------


def label(aiop, out, *more, count=1):
    flags = [part for name, value in FLAGS.items() for part in (f"--task.{name}", value)]
    return aiop(
        *("label", "--task", "detectron2", "--family", "reference", "--count", count, "--out", out, "--json"),
        *("--device", "cpu"),
        *flags,
        *more,
    )


def test_one_labelled_run_is_four_caches_and_knows_its_costs(aiop, cache, tmp_path):
    done = label(aiop, tmp_path / "run", count=2)
    assert done.code == 0, done.err
    assert json.loads(done.out)["labelled"]
    records = list(LabelStore(tmp_path / "run"))
    assert len(records) == 2
    for record in records:
        assert sorted(record.labels) == sorted(record.graphs) == sorted(METRICS)
        assert record.costs["sem_seg_mIoU"].macs < record.costs["pan_seg_PQ"].macs
        assert record.costs["obj_det_AP"].macs < record.costs["inst_seg_AP"].macs
        assert "bbox/AP50" in record.details or record.labels["obj_det_AP"] == 0

    again = label(aiop, tmp_path / "run", count=2)
    assert "2 of 2 architectures are labelled already: skipped" in again.err

    done = aiop("profile", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["profiled"]) == 2
    assert all(record.body is not None for record in LabelStore(tmp_path / "run"))

    done = aiop("cache", "build", tmp_path / "run", "--out", tmp_path / "caches", "--suffix", "drawn")
    assert done.code == 0, done.err
    files = sorted(path.name for path in (tmp_path / "caches").glob("*.safetensors"))
    assert files == sorted(f"reference_{name}_drawn.safetensors" for name in METRICS)
    assert len(GraphCache.load(tmp_path / "caches" / files[0])) == 2


def test_an_architecture_without_a_label_is_told(make_task, tiny_body, monkeypatch):
    task = make_task(parts=("sem_seg",), lr=1e30, iterations=3)
    with pytest.raises(LabelError, match=r"the loss became (nan|inf) in step \d of 3; lower lr, now 1e\+30"):
        measured(task, tiny_body())


def test_a_killed_run_goes_on(detectron2, cache, tmp_path):
    run = tmp_path / "run"
    info = tmp_path / "site" / "aiop_plugins-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aiop-plugins\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[aiop]\nreference = aiop_core.testing.reference\n")
    path = os.pathsep.join(filter(None, [str(info.parent), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "AIOP_LOAD_PLUGINS": "reference,detectron2"}
    command = [sys.executable, "-c", "from aiop_core.cli import main; main()", "label", "--task", "detectron2"]
    command += ["--family", "reference", "--count", "3", "--out", str(run), "--device", "cpu"]
    command += [str(part) for name, value in FLAGS.items() for part in (f"--task.{name}", value)]

    def lines():
        path = run / "records.jsonl"
        return (
            [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            if path.exists()
            else []
        )

    process = subprocess.Popen(
        [*command, "--task.iterations", "30"], env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not lines() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    said = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL, said
    before = lines()
    assert 1 <= len(before) < 3
    done = subprocess.run(
        [*command, "--task.iterations", "30"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert lines()[: len(before)] == before
    assert len({json.loads(line)["record"]["spec"] for line in lines()}) == len(lines()) == 3


@pytest.mark.data
def test_labels_do_not_depend_on_where_the_images_lie(make_task, tiny_body, shared_data, tmp_path):
    original = shared_data / "coco" / "tinycoco"
    copied = shutil.copytree(original, tmp_path / "elsewhere" / "coco").parent
    small = "INPUT.MIN_SIZE_TRAIN (64,) INPUT.MIN_SIZE_TEST 64 INPUT.MAX_SIZE_TRAIN 96 INPUT.MAX_SIZE_TEST 96 "
    small += "MODEL.ROI_BOX_HEAD.FC_DIM 16 MODEL.RPN.POST_NMS_TOPK_TRAIN 20 MODEL.RPN.POST_NMS_TOPK_TEST 20"
    found = []
    for folder in (original, copied):
        task = make_task(data="coco", data_dir=folder, parts=("obj_det",), overrides=small, iterations=1, workers=0)
        model = task.model(tiny_body())
        task.train(model, seed=0, device="cpu", progress=silent)
        found.append((task.fingerprint(), task.evaluate_in_detail(model, device="cpu"), str(model.state_dict())))
    assert found[0] == found[1]
    assert Detectron2Options().data_dir is None


def test_what_is_really_done_is_told(make_task):
    told = json.loads(json.dumps(make_task(iterations=7).resolved()))
    assert (told["config"]["SOLVER"]["MAX_ITER"], told["config"]["SOLVER"]["IMS_PER_BATCH"]) == (7, 2)
    assert (told["iterations"], told["batch"], told["freeze"], told["channels"]) == (7, 2, 0, 16)
    assert make_task(iterations=7, overrides="SOLVER.MAX_ITER 9").resolved()["iterations"] == 9
