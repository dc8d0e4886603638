"""A plugin's options as flags of the commands that use it, and as keys of a config file.

``--task hpe --task.epochs 3`` and, where no other flag of the command has that name,
``--epochs 3``. In a config file (TOML or JSON) the same::

    count = 24
    [task]
    name = "hpe"
    epochs = 3

What is done with a plugin may have options of its own, those of a *use*: how a saved predictor
is adapted or tuned (``--adapt.``, ``--tune.``; its folder says which there are), how a task
shares a head (``--latents.``, ``--head.``, ``--shared.``), how a family trains its supernet
(``--supernet.``).
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
from click.shell_completion import CompletionItem

from aiop_core.capabilities import SharingRegistration, SupernetRegistration
from aiop_core.contracts import AdaptableRegistration, BaselineRegistration, NoOptions, Registration
from aiop_core.errors import OptionError
from aiop_core.options import OptionField, build_options, option_fields, suggest
from aiop_core.plugins import KINDS, PluginRegistry, Selection

F = TypeVar("F", bound=Callable[..., Any])

_CHOSEN, _TYPES, _VALUES = "aiop.chosen", "aiop.types", "aiop.values"
"""Under these keys a command's context holds what the user named, by the prefix of its flags."""


class Use(NamedTuple):
    """Something that is done with a plugin, if it can do it.

    Attributes:
        kind: of the plugin.
        registration: by which those register that can.
        options: the attribute of it that holds the type of the options.
    """

    kind: str
    registration: type
    options: str


USES = {
    "adapt": Use("predictor", AdaptableRegistration, "adapt_options"),
    "tune": Use("predictor", AdaptableRegistration, "tune_options"),
    "latents": Use("task", SharingRegistration, "latents_options"),
    "head": Use("task", SharingRegistration, "head_options"),
    "shared": Use("task", SharingRegistration, "shared_options"),
    "supernet": Use("family", SupernetRegistration, "supernet_options"),
}


class PluginName(click.ParamType[str]):
    """The name of an installed plugin, completed by the shell."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The installed names that begin so."""
        return [CompletionItem(n) for n in ctx.find_root().obj.registry.names(self.kind) if n.startswith(incomplete)]


class _FieldType(click.ParamType[Any]):
    """Checks a flag's text as the option's field says."""

    def __init__(self, field: OptionField) -> None:
        self.field = field
        kind = getattr(field.type, "__name__", "text")
        self.name = "|".join(map(str, field.choices)) if field.choices else kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value in the option's type, or a usage error that says what is allowed."""
        try:
            self.field.parse(value, "the value")
        except OptionError as error:
            self.fail(str(error), param, ctx)
        return value


def plugin_option(kind: str, help: str, *, required: bool = False) -> Callable[[F], F]:
    """The flag ``--KIND NAME`` of a command."""
    note = "  [required]" if required else ""
    return click.option(f"--{kind}", type=PluginName(kind), metavar="NAME", help=f"{help}{note}", expose_value=False)


config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="TOML or JSON file with the options; flags win over it.",
    expose_value=False,
)


class PluginCommand(click.Command):
    """A command whose flags include those of the plugins that its flags name.

    Args:
        kinds: of the plugins.
        uses: what it does with them, or with the saved predictor that ``--predictor FOLDER``
            names; keys of ``USES``.
        positional: the kind whose name stands behind the command, without a flag.
    """

    def __init__(
        self,
        *args: Any,
        kinds: Sequence[str] = (),
        uses: Sequence[str] = (),
        positional: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.kinds, self.uses, self.positional = tuple(kinds), tuple(uses), positional

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find out which plugins are named, add their flags, then parse."""
        registry: PluginRegistry = ctx.find_root().obj.registry
        config = _read_config(_peek(args, "config"))
        chosen: dict[str, str] = {}
        types: dict[str, type] = {}
        for kind in self.kinds:
            table = config.get(kind)
            configured = table.get("name") if isinstance(table, Mapping) else table
            given = args[0] if kind == self.positional and args and not args[0].startswith("-") else _peek(args, kind)
            name = given or configured or (default_predictor(registry) if kind == "predictor" else None)
            if name:
                chosen[kind] = str(name)
                types[kind] = _registration(registry, kind, str(name)).options
        folder = _peek(args, "predictor") or config.get("predictor")
        for use in self.uses:
            user = _user(registry, use, chosen, folder if isinstance(folder, str) else None)
            if user:
                types[use] = getattr(user, USES[use].options, NoOptions)
        ctx.meta[_CHOSEN], ctx.meta[_TYPES] = chosen, types
        ctx.meta[_VALUES] = {prefix: self._configured(config, prefix) for prefix in types}
        self._check_config(config)
        names = {name.replace("-", "_"): parameter for name, parameter in self._keys().items()}
        flat = {key.replace("-", "_"): value for key, value in config.items() if not isinstance(value, Mapping)}
        several = {p.name for p in self.params if isinstance(p, click.Option) and p.multiple}
        ctx.default_map = {
            names[key]: [value] if names[key] in several and isinstance(value, str) else value
            for key, value in flat.items()
            if key in names
        }
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise self._no_such_option(ctx, registry, error) from error

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own flags and those of the chosen plugins."""
        params = super().get_params(ctx)
        types: Mapping[str, type] = ctx.meta.get(_TYPES, {})
        fields = [(prefix, field) for prefix, options in types.items() for field in option_fields(options)]
        taken = Counter(opt.removeprefix("--") for p in params for opt in p.opts)
        plugins, uses = (
            Counter(field.flag for prefix, field in fields if (prefix in USES) == use) for use in (False, True)
        )
        every = taken + plugins + uses

        def short(prefix: str, flag: str) -> bool:
            """Of a plugin's and a use's options of one name, the plugin's has the short flag."""
            return every[flag] == 1 or (prefix not in USES and taken[flag] == 0 and plugins[flag] == 1)

        return params + [_flag(prefix, field, short=short(prefix, field.flag)) for prefix, field in fields]

    def _configured(self, config: Mapping[str, Any], kind: str) -> dict[str, Any]:
        table = config.get(kind)
        return {k.replace("-", "_"): v for k, v in table.items() if k != "name"} if isinstance(table, Mapping) else {}

    def _keys(self) -> dict[str, str]:
        """What a config file may hold: flags without their dashes, and the parameter that each sets."""
        keys = {opt.removeprefix("--"): p.name or "" for p in self.params for opt in p.opts if opt.startswith("--")}
        return {key: name for key, name in keys.items() if key not in ("config", "json", "dry-run", *self.kinds)}

    def _check_config(self, config: Mapping[str, Any]) -> None:
        """Every key is a flag of this command, or the table of a plugin or a use that another command has."""
        known = [*self.kinds, *self.uses, *self._keys()]
        for key in config:
            if key.replace("_", "-") not in known and key not in (*KINDS, *USES):
                raise OptionError(f"unknown key '{key}' in the config file; {suggest(key.replace('_', '-'), known)}")

    def _no_such_option(
        self, ctx: click.Context, registry: PluginRegistry, error: click.NoSuchOption
    ) -> click.UsageError:
        """The same error with the flag that was probably meant."""
        given = error.option_name.lstrip("-")
        kind = given.split(".")[0]
        if "." in given and kind in self.kinds and kind not in ctx.meta[_CHOSEN]:
            names = ", ".join(registry.names(kind)) or "none"
            return click.UsageError(
                f"{error.option_name} belongs to a {kind}; name one with --{kind} (installed: {names})", ctx
            )
        if kind in self.uses and kind not in ctx.meta[_TYPES]:
            of = USES[kind].kind
            how = "name its folder with --predictor" if of not in self.kinds else f"name one with --{of}"
            return click.UsageError(f"{error.option_name} belongs to a {of}; {how}", ctx)
        flags = [opt for p in self.get_params(ctx) for opt in p.opts]
        full = [flag for flag in flags if flag.endswith(f".{given}")]
        if full:
            return click.UsageError(
                f"{error.option_name} is an option of several plugins; write {' or '.join(full)}", ctx
            )
        return click.UsageError(f"no such option {error.option_name}; {suggest(error.option_name, flags)}", ctx)


def _flag(prefix: str, field: OptionField, *, short: bool) -> click.Option:
    def remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:  # noqa: ARG001
        if value is not None:
            ctx.meta[_VALUES][prefix][field.name] = value

    default = (
        "none"
        if field.default is None
        else ",".join(map(str, field.default))
        if isinstance(field.default, tuple)
        else field.default
    )
    return click.Option(
        [f"--{prefix}.{field.flag}", *([f"--{field.flag}"] if short else []), f"{prefix}__{field.name}"],
        type=_FieldType(field),
        callback=remember,
        expose_value=False,
        help=f"{field.help}  [default: {default}]",
    )


def default_predictor(registry: PluginRegistry) -> str | None:
    """The installed predictor that is no baseline, if there is just one, or just one that is preferred."""
    found = [
        plugin
        for plugin in registry.plugins()
        if plugin.kind == "predictor" and not isinstance(plugin.registration, BaselineRegistration)
    ]
    preferred = [plugin for plugin in found if plugin.registration and plugin.registration.preferred]
    names = [plugin.name for plugin in preferred or found]
    return names[0] if len(names) == 1 else None


def selection(ctx: click.Context, kind: str) -> Selection:
    """The plugin of that kind that the user named, with its options.

    Raises:
        click.UsageError: if none is named.
        OptionError: if the config file has an unknown option or a bad value.
    """
    registry: PluginRegistry = ctx.find_root().obj.registry
    name = ctx.meta[_CHOSEN].get(kind)
    if name is None:
        installed = ", ".join(registry.names(kind)) or f"none; more come with 'pip install aiop-{kind}-…'"
        raise click.UsageError(f"name a {kind} with --{kind} (installed: {installed})", ctx)
    return Selection(kind, name, _options(ctx, kind))


def optional_selection(ctx: click.Context, kind: str) -> Selection | None:
    """As ``selection``, or ``None`` if the user named no plugin of that kind."""
    return selection(ctx, kind) if kind in ctx.meta[_CHOSEN] else None


def options_of_use(ctx: click.Context, use: str) -> Any:
    """How a plugin or a saved predictor is to be used, as its registration's options say.

    Raises:
        OptionError: if it cannot be used so, naming those that can, or if the config file has an unknown
            option or a bad value.
    """
    of = USES[use]
    if of.kind in ctx.meta[_CHOSEN]:
        registry: PluginRegistry = ctx.find_root().obj.registry
        name = ctx.meta[_CHOSEN][of.kind]
        if not isinstance(registry.get(of.kind, name).registration, of.registration):
            able = [p.name for p in registry.plugins() if isinstance(p.registration, of.registration)]
            raise OptionError(
                f"the {of.kind} '{name}' does not offer '{use}'; installed ones that do: {', '.join(able) or 'none'}"
            )
    return _options(ctx, use)


def _options(ctx: click.Context, prefix: str) -> Any:
    return build_options(ctx.meta[_TYPES][prefix], ctx.meta[_VALUES][prefix], prefix=f"{prefix}.")


def _registration(registry: PluginRegistry, kind: str, name: str) -> Registration[Any]:
    registration = registry.get(kind, name).registration
    assert registration is not None  # broken sources have the kind 'plugin'
    return registration


def _user(
    registry: PluginRegistry, use: str, chosen: Mapping[str, str], folder: str | None
) -> Registration[Any] | None:
    """What is to be used: the chosen plugin, or the predictor that was saved in ``folder``."""
    kind = USES[use].kind
    if kind in chosen:
        return _registration(registry, kind, chosen[kind])
    if kind == "predictor" and folder:
        from aiop_core.pipeline.saved import read_card

        return _registration(registry, kind, read_card(Path(folder)).predictor)
    return None


def _peek(args: Sequence[str], name: str) -> str | None:
    """The value of ``--name`` before click parses anything; the last one wins, as in click."""
    found = None
    for i, arg in enumerate(args):
        if arg == "--":
            break
        if arg == f"--{name}" and i + 1 < len(args):
            found = args[i + 1]
        elif arg.startswith(f"--{name}="):
            found = arg.split("=", 1)[1]
    return found


def _read_config(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        text = Path(path).read_text(encoding="utf-8")
        data = json.loads(text) if path.endswith(".json") else tomllib.loads(text)
    except FileNotFoundError:
        raise OptionError(f"there is no config file {path}") from None
    except (ValueError, OSError) as error:
        raise OptionError(
            f"{path} is not a readable config file ({error}); write TOML, or JSON in a .json file"
        ) from None
    if not isinstance(data, dict):
        raise OptionError(f"{path} must hold a table of options, not a {type(data).__name__}")
    return data
