"""What every command shares that takes a model: the spelling, its flags, and a ready reader."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from aiop_core.cli import flags
from aiop_core.cli.plugin_options import PluginCommand, config_option, optional_selection, plugin_option

SPELLINGS = """\b
A MODEL is one of
  family:spec               an architecture of a family ('aiop plugins' lists them)
  spec                      the same with --family, or of the predictor's own family
  zoo:name                  a model of a zoo, with random weights
  package.module:function   makes a torch module or Keras model; this runs its code
  file.py:function          the same in a file; give only files that you trust
  net.onnx, net.pb          an ONNX model, a frozen TensorFlow graph
  net.keras, net.h5         a Keras model
  folder                    a TensorFlow SavedModel
  net.safetensors           a graph from 'aiop graph save'
  cache.safetensors#3       one graph of a graph cache, counted from 0
"""
"""How models are written, at the end of each command's help."""

input_shape_option = click.option(
    "--input-shape",
    type=flags.Shape(),
    metavar="C,H,W",
    help="Without batch axis, channels first, whatever the format; for models that leave it open.",
)

confidence_option = click.option(
    "--confidence",
    type=float,
    default=0.9,
    show_default=True,
    metavar="SHARE",
    help="How often the intervals shall hold the truth.",
)


def predictor_option(*, required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The flag ``--predictor``, passed on as ``folder``."""
    text = "A saved predictor: the folder 'predictor' of a run."
    kind = click.Path(path_type=Path)
    return click.option("--predictor", "folder", required=required, type=kind, metavar="FOLDER", help=text)


class ModelSpelling(click.ParamType[str]):
    """A model; the shell completes families and zoos, and files."""

    name = "model"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The prefixes that begin so; else files."""
        registry = ctx.find_root().obj.registry
        prefixes = [f"{name}:" for kind in ("family", "zoo") for name in registry.names(kind)]
        found = [CompletionItem(prefix) for prefix in prefixes if prefix.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


def model_argument(name: str = "model") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The argument MODEL, or one of another name."""
    return click.argument(name, type=ModelSpelling(), metavar=name.upper())


def model_command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A command over models: it gets a ``ModelReader`` as ``reader``, made of the flags that it adds."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        @plugin_option("family", "Whose spec the model is, if it is written without 'family:'.")
        @plugin_option("task", "Put this task's head on the architecture.")
        @input_shape_option
        @click.option("--input-name", metavar="NAME", help="Which input, for an ONNX or .pb file that has several.")
        @click.option(
            "--input-hw", type=flags.Shape(2), metavar="H,W", help="For a family's network; its own by default."
        )
        @config_option
        @click.pass_context
        @functools.wraps(function)
        def body(
            ctx: click.Context,
            /,
            *args: Any,
            input_shape: tuple[int, ...] | None,
            input_hw: tuple[int, int] | None,
            input_name: str | None,
            **kwargs: Any,
        ) -> Any:
            from aiop_core.pipeline.models import ModelReader

            registry = ctx.find_root().obj.registry
            family, task = optional_selection(ctx, "family"), optional_selection(ctx, "task")
            reader = ModelReader(
                registry,
                registry.make(family) if family else None,
                family.name if family else None,
                registry.make(task) if task else None,
                input_hw=input_hw,
                input_shape=input_shape,
                input_name=input_name,
            )
            return function(*args, reader=reader, **kwargs)

        return click.command(name, cls=PluginCommand, kinds=("family", "task"), epilog=SPELLINGS)(body)

    return decorate
