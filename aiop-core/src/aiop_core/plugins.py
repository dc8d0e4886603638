"""PluginRegistry: discover, check, list, get. No module-level state.

Each entry point of the group ``aiop`` is loaded by itself, so that a broken plugin is a
line in ``aiop plugins`` with its error, and not a crash.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import click
import pluggy

from aiop_core import hookspecs
from aiop_core.contracts import AdaptableRegistration, OperationRule, Registration
from aiop_core.errors import AiopError, OptionError, PluginError, UnknownNameError
from aiop_core.hookspecs import ENTRY_POINT_GROUP
from aiop_core.options import build_options, option_fields, options_dict, suggest

KINDS: Mapping[str, str] = {
    "family": "aiop_register_families",
    "task": "aiop_register_tasks",
    "predictor": "aiop_register_predictors",
    "profiler": "aiop_register_profilers",
    "executor": "aiop_register_executors",
    "zoo": "aiop_register_zoos",
    "operation": "aiop_register_operations",
    "requirement": "aiop_register_requirements",
}
"""What can be registered, and the hook that registers it."""

DIALECTS = ("torch", "onnx", "tensorflow")
"""Whose operations a rule can be for; the first part of its name."""

_MARK = f"{ENTRY_POINT_GROUP}_impl"
"""The attribute by which pluggy knows a function that ``@hookimpl`` marked."""

LOAD_VARIABLE = "AIOP_LOAD_PLUGINS"
"""Environment variable: comma-separated entry-point names; only these are loaded."""

STRICT_VARIABLE = "AIOP_STRICT_PLUGINS"
"""Environment variable: ``1`` makes a broken plugin an error."""


@dataclass(frozen=True)
class PluginSource:
    """Where a plugin comes from: an entry point, or an object given in a test."""

    name: str
    distribution: str
    version: str
    load: Callable[[], Any]

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"'{self.name}' of {self.distribution} {self.version}"


@dataclass(frozen=True)
class Plugin:
    """One thing that is registered, or one source that is broken.

    Attributes:
        kind: a key of ``KINDS``, or ``plugin`` for a broken source.
        registration: absent if and only if ``error`` is not empty.
    """

    kind: str
    name: str
    source: PluginSource
    registration: Registration[Any] | None = None
    error: str = ""


@dataclass(frozen=True)
class Selection:
    """A plugin that a user chose, with its options resolved."""

    kind: str
    name: str
    options: Any

    def to_json(self, *, runtime: bool = True) -> dict[str, Any]:
        """As a table of a config file; without options that cannot change a result if so asked."""
        return {"name": self.name, **options_dict(self.options, runtime=runtime)}


def installed_sources() -> list[PluginSource]:
    """The entry points of this environment, in the order of their names."""
    found = {}
    for entry in metadata.entry_points(group=ENTRY_POINT_GROUP):
        dist = entry.dist
        found[(entry.name, entry.value)] = PluginSource(
            entry.name, dist.name if dist else "unknown", dist.version if dist else "?", entry.load
        )
    return [found[key] for key in sorted(found)]


class PluginRegistry:
    """All plugins of an environment.

    Args:
        sources: where to look; by default the installed entry points, limited by the
            environment variable ``AIOP_LOAD_PLUGINS``.
        strict: raise instead of listing a broken plugin; by default as
            ``AIOP_STRICT_PLUGINS`` says.

    Raises:
        PluginError: if two plugins register one name, or one is broken and ``strict``.
    """

    def __init__(self, sources: Iterable[PluginSource] | None = None, *, strict: bool | None = None) -> None:
        if strict is None:
            strict = os.environ.get(STRICT_VARIABLE, "") == "1"
        if sources is None:
            sources = _limited(installed_sources(), os.environ.get(LOAD_VARIABLE))
        self._manager = pluggy.PluginManager(ENTRY_POINT_GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._plugins: dict[tuple[str, str], Plugin] = {}
        self._modules: dict[PluginSource, Any] = {}
        self._strict = strict
        for source in sources:
            try:
                found = self._register(source)
            except Exception as error:  # noqa: BLE001 - a stranger's module may raise anything
                self._break(source, error)
                continue
            for plugin in found:
                self._add(plugin)

    def _break(self, source: PluginSource, error: Exception) -> None:
        """List ``source`` as broken, or raise where plugins are taken strictly."""
        reason = str(error) if isinstance(error, AiopError) else f"{type(error).__name__}: {error}"
        reason = " ".join(reason.split())
        if self._strict:
            raise PluginError(f"plugin {source.label} is broken: {reason}") from error
        self._plugins[("plugin", source.label)] = Plugin("plugin", source.name, source, error=reason)

    def _register(self, source: PluginSource) -> list[Plugin]:
        module = source.load()
        _check_marks(module)
        try:
            self._manager.register(module, name=f"{source.distribution}:{source.name}")
            self._manager.check_pending()
            found = [
                Plugin(kind, registration.name, source, registration)
                for kind, hook in KINDS.items()
                for registration in self._call(module, hook)
            ]
        except Exception as error:
            if self._manager.is_registered(module):
                self._manager.unregister(module)
            if isinstance(error, pluggy.PluginValidationError):
                raise PluginError(_explain_pending(module, str(error))) from error
            raise
        self._modules[source] = module
        return found

    def _call(self, module: Any, hook: str) -> Sequence[Registration[Any]]:
        """What ``module`` alone returns from ``hook``, checked: pluggy does not."""
        results = self._hook_of(module, hook)()
        found: list[Registration[Any]] = []
        for result in results:
            if not isinstance(result, Sequence) or isinstance(result, str):
                raise PluginError(f"{hook} must return a sequence of Registration, not {type(result).__name__}")
            for item in result:
                if not isinstance(item, Registration):
                    raise PluginError(f"{hook} returned a {type(item).__name__}, expected Registration")
                _check_name(hook, item.name)
                if not callable(item.create):
                    raise PluginError(f"{hook}: 'create' of '{item.name}' cannot be called")
                option_fields(item.options)
                if isinstance(item, AdaptableRegistration):
                    option_fields(item.adapt_options)
                    option_fields(item.tune_options)
                found.append(item)
        return found

    def _hook_of(self, module: Any, hook: str) -> Callable[..., list[Any]]:
        others = [p for p in self._manager.get_plugins() if p is not module]
        return self._manager.subset_hook_caller(hook, remove_plugins=others)

    def _add(self, plugin: Plugin) -> None:
        key = (plugin.kind, plugin.name)
        if key in self._plugins:
            other = self._plugins[key].source
            raise PluginError(
                f"two plugins register the {plugin.kind} '{plugin.name}': {other.label} and {plugin.source.label}; "
                f"uninstall one, or name those to load in {LOAD_VARIABLE}"
            )
        rival = self._plugins.get(({"family": "zoo", "zoo": "family"}.get(plugin.kind, ""), plugin.name))
        if rival is not None:
            raise PluginError(
                f"'{plugin.name}:…' would be both a {rival.kind} of {rival.source.label} and a {plugin.kind} of "
                f"{plugin.source.label}; uninstall one, or name those to load in {LOAD_VARIABLE}"
            )
        self._plugins[key] = plugin

    def plugins(self) -> list[Plugin]:
        """Everything found, broken ones included, by kind and name."""
        order = [*KINDS, "plugin"]
        return sorted(self._plugins.values(), key=lambda p: (order.index(p.kind), p.name))

    def broken(self) -> list[Plugin]:
        """The plugins that could not be used, each with its ``error``."""
        return [p for p in self.plugins() if p.error]

    def names(self, kind: str) -> list[str]:
        """The registered names of a kind."""
        return sorted(name for k, name in self._plugins if k == kind)

    def get(self, kind: str, name: str) -> Plugin:
        """The plugin of that exact name.

        Raises:
            UnknownNameError: with the installed names, the nearest one, and how to get more.
        """
        plugin = self._plugins.get((kind, name))
        if plugin is None:
            broken = "".join(f"; plugin {p.source.label} is broken: {p.error}" for p in self.broken())
            raise UnknownNameError(
                f"unknown {kind} '{name}'; {suggest(name, self.names(kind))}; more come with "
                f"'pip install aiop-{kind}-…' ('aiop plugins' lists what is installed){broken}"
            )
        return plugin

    def create(self, kind: str, name: str, options: Any = None) -> Any:
        """Make the thing, from an options instance, a mapping of values, or defaults.

        Raises:
            UnknownNameError: if the name is not registered.
            OptionError: if an option is unknown or its value not allowed.
        """
        registration = self.get(kind, name).registration
        assert registration is not None  # broken sources have the kind 'plugin'
        if options is None or isinstance(options, Mapping):
            options = build_options(registration.options, options or {}, prefix=f"{kind}.")
        elif not dataclasses.is_dataclass(options) or not isinstance(options, registration.options):
            raise OptionError(
                f"{kind} '{name}' takes {registration.options.__qualname__}, not {type(options).__qualname__}"
            )
        return registration.create(options)

    def make(self, selection: Selection) -> Any:
        """Make what a user chose."""
        return self.create(selection.kind, selection.name, selection.options)

    def operation_rules(self, dialect: str) -> dict[str, OperationRule]:
        """The rules that plugins bring for a framework's operations, by the operation's own name."""
        prefix = f"{dialect}:"
        names = [name for name in self.names("operation") if name.startswith(prefix)]
        return {name.removeprefix(prefix): self.create("operation", name) for name in names}

    def add_commands(self, cli: click.Group) -> None:
        """Let plugins add their own commands to the command line; one that fails is listed as broken."""
        for source, module in self._modules.items():
            try:
                self._hook_of(module, "aiop_register_commands")(cli=cli)
            except Exception as error:  # noqa: BLE001 - a stranger's module may raise anything
                self._break(source, error)


def _limited(sources: list[PluginSource], names: str | None) -> list[PluginSource]:
    if names is None:
        return sources
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in {s.name for s in sources}:
            raise UnknownNameError(
                f"{LOAD_VARIABLE} names '{name}', which is not installed; {suggest(name, [s.name for s in sources])}"
            )
    return [s for s in sources if s.name in wanted]


def _check_name(hook: str, name: Any) -> None:
    text = name if isinstance(name, str) else ""
    if hook == KINDS["operation"]:
        dialect, _, operation = text.partition(":")
        if dialect not in DIALECTS or not operation or text != "".join(text.split()):
            raise PluginError(
                f"{hook} returned the name {name!r}; write DIALECT:OPERATION without spaces, "
                f"with a dialect of {', '.join(DIALECTS)}, as in 'torch:mylib::my_op'"
            )
    elif not text or text != text.strip() or ":" in text:
        raise PluginError(f"{hook} returned the name {name!r}; a name is a text without ':' or spaces around")


def _check_marks(module: Any) -> None:
    """The manager of pluggy passes over functions without its mark in silence.

    Raises:
        PluginError: if a hook lacks the mark, or there is no hook at all.
    """
    marked = [name for name in dir(module) if hasattr(getattr(module, name, None), _MARK)]
    for name in dir(hookspecs):
        if name.startswith("aiop_") and callable(getattr(module, name, None)) and name not in marked:
            raise PluginError(f"'{name}' is not marked with @hookimpl (from aiop_core.hookspecs)")
    if not marked:
        raise PluginError("it has no hooks; mark at least one function with @hookimpl (from aiop_core.hookspecs)")


def _explain_pending(module: Any, message: str) -> str:
    """The message of pluggy, or for a misspelt hook the nearest real one."""
    specs = [name for name in dir(hookspecs) if name.startswith("aiop_")]
    for name in dir(module):
        if hasattr(getattr(module, name, None), _MARK) and name not in specs:
            return f"'{name}' is not a hook; {suggest(name, specs)}"
    return message
