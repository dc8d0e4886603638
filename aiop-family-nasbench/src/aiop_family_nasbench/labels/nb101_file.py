"""NAS-Bench-101's ``nasbench_only108.tfrecord`` and ``nasbench_full.tfrecord``, without TensorFlow.

A record is a JSON list: the cell's hash, for how many epochs it was trained, its adjacency
matrix as digits, its operations, and the measured numbers as a protocol buffer in base64.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from aiop_core.contracts import Progress
from aiop_core.errors import DataError
from aiop_family_nasbench.labels.table import LabelTable
from aiop_family_nasbench.labels.tfrecord import records

_MEASURED = {
    "train_accuracy": "train_acc_{}ep",
    "validation_accuracy": "val_acc_{}ep",
    "test_accuracy": "test_acc_{}ep",
    "training_time": "training_time_s_{}ep",
}
"""What the protocol buffer calls the numbers at the end of training, and our columns."""

_EVALUATION = ("current_epoch", *list(_MEASURED)[-1:], *list(_MEASURED)[:-1])
"""Fields of an evaluation, by their numbers."""

SPEC_COLUMNS = ("adjacency", "ops")

_SHOWN_EVERY = 1000


def read(path: Path, progress: Progress) -> LabelTable:
    """One row for each cell: means over the repeated trainings, accuracies as fractions.

    Raises:
        DataError: if the file is missing, damaged, or another one.
    """
    size = path.stat().st_size if path.is_file() else 0
    table = LabelTable("nb101", SPEC_COLUMNS, "fraction")
    for number, (record, end) in enumerate(records(path)):
        try:
            cell, epochs, digits, operations, encoded = json.loads(record)
            metrics = _message("ModelMetrics").FromString(base64.b64decode(encoded, validate=True))
            count = len(operations.split(","))
            if len(digits) != count**2 or len(metrics.evaluation_data) < 2:
                raise ValueError("the numbers of its entries do not agree")
            rows = [[int(digit) for digit in digits[i : i + count]] for i in range(0, count**2, count)]
            final = metrics.evaluation_data[-1]
            measured = {column.format(int(epochs)): getattr(final, name) for name, column in _MEASURED.items()}
        except (ValueError, AttributeError, TypeError, DecodeError) as error:
            raise DataError(f"{path} holds a record that is none of NAS-Bench-101 ({error})") from None
        table.add(
            str(cell),
            {"adjacency": json.dumps(rows), "ops": json.dumps(operations.split(","))},
            {**measured, "params": metrics.trainable_parameters},
        )
        if number % _SHOWN_EVERY == 0 or end == size:
            progress(end, size)
    if not table.rows:
        raise DataError(f"{path} has no records; download it again")
    return table


@cache
def _message(name: str) -> Any:
    """The class of a message.

    Source: nasbench, ``model_metrics.proto``.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="model_metrics.proto", package="nasbench", syntax="proto2")
    metrics = file.message_type.add(name="ModelMetrics")
    metrics.field.add(
        name="evaluation_data",
        number=1,
        label=field.LABEL_REPEATED,
        type=field.TYPE_MESSAGE,
        type_name=".nasbench.EvaluationData",
    )
    metrics.field.add(name="trainable_parameters", number=2, label=field.LABEL_OPTIONAL, type=field.TYPE_INT32)
    metrics.field.add(name="total_time", number=3, label=field.LABEL_OPTIONAL, type=field.TYPE_DOUBLE)
    evaluation = file.message_type.add(name="EvaluationData")
    for number, entry in enumerate(_EVALUATION, 1):
        evaluation.field.add(name=entry, number=number, label=field.LABEL_OPTIONAL, type=field.TYPE_DOUBLE)
    evaluation.field.add(name="checkpoint_path", number=6, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"nasbench.{name}"))
