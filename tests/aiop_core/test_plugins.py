import sys
from dataclasses import dataclass
from types import ModuleType

import click
import pytest

from aiop_core.contracts import InProcess, NoOptions, Registration
from aiop_core.errors import OptionError, PluginError, UnknownNameError
from aiop_core.hookspecs import hookimpl
from aiop_core.options import option
from aiop_core.plugins import PluginRegistry, PluginSource, Selection, installed_sources
from aiop_core.testing import reference


@dataclass(frozen=True)
class Options:
    width: int = option(2, "width", minimum=1)


def module(**functions):
    """A plugin module with these hooks, all marked."""
    made = ModuleType("toy")
    for name, function in functions.items():
        setattr(made, name, hookimpl(function))
    return made


def source(name, plugin, distribution="toys", version="1.0"):
    def load():
        if isinstance(plugin, Exception):
            raise plugin
        return plugin

    return PluginSource(name, distribution, version, load)


def family(name="toy", create=lambda options: ("made", options), options=Options):
    return module(aiop_register_families=lambda: [Registration(name, "A toy.", create, options)])


def registry(*plugins, strict=False):
    return PluginRegistry([source(f"p{i}", plugin, f"dist{i}") for i, plugin in enumerate(plugins)], strict=strict)


REFERENCE = source("reference", reference, "aiop-core", "0.1.0")


def test_every_kind_is_registered_and_created():
    everything = module(
        aiop_register_families=lambda: [Registration("f", "F.", lambda o: "family")],
        aiop_register_tasks=lambda: (Registration("t", "T.", lambda o: "task"),),
        aiop_register_predictors=lambda: [Registration("p", "P.", lambda o: "predictor")],
        aiop_register_profilers=lambda: [Registration("q", "Q.", lambda o: "profiler")],
        aiop_register_executors=lambda: [Registration("e", "E.", lambda o: InProcess())],
        aiop_register_zoos=lambda: [Registration("z", "Z.", lambda o: "zoo")],
        aiop_register_operations=lambda: [Registration("torch:a::b", "O.", lambda o: "rule")],
        aiop_register_requirements=lambda: [Registration("r", "R.", lambda o: "requirement")],
    )
    found = registry(everything)
    assert [(p.kind, p.name) for p in found.plugins()] == [
        ("family", "f"),
        ("task", "t"),
        ("predictor", "p"),
        ("profiler", "q"),
        ("executor", "e"),
        ("zoo", "z"),
        ("operation", "torch:a::b"),
        ("requirement", "r"),
    ]
    assert found.create("family", "f") == "family"
    assert list(found.create("executor", "e").map(str, [1, 2])) == ["1", "2"]
    assert not found.broken()


def test_one_name_may_be_used_in_several_kinds():
    found = PluginRegistry([REFERENCE])
    assert [p.kind for p in found.plugins() if p.name == "reference"] == ["family", "task", "predictor"]
    assert found.get("task", "reference").source.label == "'reference' of aiop-core 0.1.0"


@pytest.mark.parametrize("options", [None, {"width": "2"}, Options(2)])
def test_creation_takes_an_instance_values_or_nothing(options):
    assert registry(family()).create("family", "toy", options) == ("made", Options(2))
    assert registry(family()).make(Selection("family", "toy", Options(2))) == ("made", Options(2))


def test_creation_refuses_options_of_another_plugin():
    with pytest.raises(OptionError, match="family 'toy' takes Options, not NoOptions"):
        registry(family()).create("family", "toy", NoOptions())
    with pytest.raises(OptionError, match=r"unknown option 'family\.widht'; did you mean 'width'"):
        registry(family()).create("family", "toy", {"widht": 1})


# --- Broken plugins -------------------------------------------------------------------


@hookimpl
def aiop_register_famlies():
    return []


def misspelt():
    made = ModuleType("toy")
    made.aiop_register_famlies = aiop_register_famlies
    return made


def unmarked():
    made = family()
    made.aiop_register_tasks = list
    return made


BROKEN = [
    (ModuleNotFoundError("No module named 'torchvison'"), "ModuleNotFoundError: No module named 'torchvison'"),
    (SyntaxError("bad\n  line"), "SyntaxError: bad line"),
    (misspelt(), "'aiop_register_famlies' is not a hook; did you mean 'aiop_register_families'?"),
    (unmarked(), "'aiop_register_tasks' is not marked with @hookimpl"),
    (ModuleType("empty"), "it has no hooks; mark at least one function with @hookimpl"),
    (module(aiop_register_tasks=lambda options: []), "Argument(s) {'options'} are declared in the hookimpl"),
    (module(aiop_register_tasks=lambda: 1 / 0), "ZeroDivisionError: division by zero"),
    (module(aiop_register_tasks=lambda: 7), "aiop_register_tasks must return a sequence of Registration, not int"),
    (module(aiop_register_tasks=lambda: "toy"), "must return a sequence of Registration, not str"),
    (module(aiop_register_tasks=lambda: ["toy"]), "aiop_register_tasks returned a str, expected Registration"),
    *(
        (module(aiop_register_operations=lambda name=name: [Registration(name, "", print)]), message)
        for name, message in [
            ("a::b", "returned the name 'a::b'; write DIALECT:OPERATION without spaces, with a dialect of torch, onnx"),
            ("jax:add", "returned the name 'jax:add'; write DIALECT:OPERATION"),
            ("torch:", "returned the name 'torch:'; write DIALECT:OPERATION"),
            ("torch:a b", "returned the name 'torch:a b'; write DIALECT:OPERATION"),
            (5, "returned the name 5; write DIALECT:OPERATION"),
        ]
    ),
    (family(name=" toy"), "aiop_register_families returned the name ' toy'; a name is a text without ':'"),
    (family(name="a:b"), "returned the name 'a:b'"),
    (family(name=""), "returned the name ''"),
    (family(name=3), "returned the name 3"),
    (family(create="no"), "aiop_register_families: 'create' of 'toy' cannot be called"),
    (family(options=dict), "options <class 'dict'> must be a frozen dataclass"),
]


@pytest.mark.parametrize(("plugin", "message"), BROKEN)
def test_a_broken_plugin_is_a_line_and_the_others_work(plugin, message):
    found = registry(plugin, family("healthy"), plugin)
    assert found.create("family", "healthy") == ("made", Options(2))
    assert [p.source.distribution for p in found.broken()] == ["dist0", "dist2"]
    line = found.broken()[0]
    assert (line.kind, line.name, line.registration) == ("plugin", "p0", None)
    assert message in line.error
    assert "\n" not in line.error
    assert found.names("family") == ["healthy"]


@pytest.mark.parametrize(("plugin", "message"), BROKEN[:3])
def test_a_broken_plugin_is_an_error_where_plugins_are_taken_strictly(plugin, message):
    with pytest.raises(PluginError) as caught:
        registry(plugin, strict=True)
    assert str(caught.value).startswith(f"plugin 'p0' of dist0 1.0 is broken: {message[:30]}")


def test_the_environment_makes_it_strict(monkeypatch):
    monkeypatch.setenv("AIOP_STRICT_PLUGINS", "1")
    with pytest.raises(PluginError, match=r"plugin 'p' of toys 1\.0 is broken: OSError: gone"):
        PluginRegistry([source("p", OSError("gone"))])
    monkeypatch.setenv("AIOP_STRICT_PLUGINS", "0")
    assert PluginRegistry([source("p", OSError("gone"))]).broken()


def test_two_plugins_of_one_name_are_an_error_that_names_both():
    with pytest.raises(PluginError) as caught:
        registry(family(), family("other"), family())
    assert str(caught.value) == (
        "two plugins register the family 'toy': 'p0' of dist0 1.0 and 'p2' of dist2 1.0; "
        "uninstall one, or name those to load in AIOP_LOAD_PLUGINS"
    )


def test_a_family_and_a_zoo_of_one_name_would_be_spelt_alike():
    zoo = module(aiop_register_zoos=lambda: [Registration("toy", "A toy.", lambda o: "zoo")])
    for plugins, kinds in (((family(), zoo), ("family", "zoo")), ((zoo, family()), ("zoo", "family"))):
        message = f"'toy:…' would be both a {kinds[0]} of 'p0' of dist0 1.0 and a {kinds[1]} of 'p1' of dist1 1.0"
        with pytest.raises(PluginError, match=message):
            registry(*plugins)


def test_rules_are_found_by_their_dialect():
    names = ("torch:a::b", "onnx:com.acme::Op", "onnx:Op", "tensorflow:MyOp")
    rules = module(aiop_register_operations=lambda: [Registration(n, "", lambda o, n=n: n) for n in names])
    found = registry(rules)
    assert found.operation_rules("torch") == {"a::b": "torch:a::b"}
    assert found.operation_rules("onnx") == {"com.acme::Op": "onnx:com.acme::Op", "Op": "onnx:Op"}
    assert found.operation_rules("tensorflow") == {"MyOp": "tensorflow:MyOp"}


def test_an_unknown_name_is_answered_with_the_nearest_and_where_more_come_from():
    with pytest.raises(UnknownNameError) as caught:
        registry(family("ofa_toy"), family("plain")).get("family", "ofa_ty")
    assert str(caught.value) == (
        "unknown family 'ofa_ty'; did you mean 'ofa_toy'? allowed are: ofa_toy, plain; more come with "
        "'pip install aiop-family-…' ('aiop plugins' lists what is installed)"
    )


def test_an_unknown_name_mentions_plugins_that_may_have_brought_it():
    with pytest.raises(UnknownNameError, match=r"there are none; .*plugin 'p0' of dist0 1\.0 is broken: OSError: gone"):
        registry(OSError("gone")).create("task", "pose")


# --- Commands -------------------------------------------------------------------------


def with_command(name, error=None):
    def aiop_register_commands(cli):
        if error:
            raise error
        cli.add_command(click.Command(name))

    return module(aiop_register_commands=aiop_register_commands)


def test_plugins_add_commands_and_one_that_fails_is_listed():
    found = registry(with_command("first"), with_command("bad", KeyError("oops")), with_command("last"))
    cli = click.Group()
    found.add_commands(cli)
    assert sorted(cli.commands) == ["first", "last"]
    assert [(p.name, p.error) for p in found.broken()] == [("p1", "KeyError: 'oops'")]


def test_a_failing_command_is_an_error_where_plugins_are_taken_strictly():
    with pytest.raises(PluginError, match=r"plugin 'p0' of dist0 1\.0 is broken: KeyError: 'oops'"):
        registry(with_command("bad", KeyError("oops")), strict=True).add_commands(click.Group())


# --- Installed ones -------------------------------------------------------------------


@pytest.fixture
def two_installed(tmp_path, monkeypatch):
    """Two distributions with an entry point each, on the path and nowhere else."""
    for name in ("alpha", "beta"):
        info = tmp_path / f"toy_{name}-2.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: toy-{name}\nVersion: 2.0\n")
        (info / "entry_points.txt").write_text(f"[aiop]\n{name} = toy_{name}_plugin\n")
        (tmp_path / f"toy_{name}_plugin.py").write_text(
            "from aiop_core.contracts import Registration\n"
            "from aiop_core.hookspecs import hookimpl\n"
            "@hookimpl\n"
            "def aiop_register_tasks():\n"
            f"    return [Registration('{name}_task', 'A toy.', lambda options: '{name}')]\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("alpha", "beta"):
        sys.modules.pop(f"toy_{name}_plugin", None)


def test_installed_plugins_are_found_by_their_entry_points(two_installed):
    labels = [s.label for s in installed_sources()]
    assert "'alpha' of toy-alpha 2.0" in labels
    assert labels == sorted(labels)


def test_only_the_named_plugins_are_loaded(two_installed, monkeypatch):
    monkeypatch.setenv("AIOP_LOAD_PLUGINS", "beta, alpha")
    assert [p.name for p in PluginRegistry().plugins()] == ["alpha_task", "beta_task"]
    monkeypatch.setenv("AIOP_LOAD_PLUGINS", "beta")
    assert [p.name for p in PluginRegistry().plugins()] == ["beta_task"]
    assert "toy_alpha_plugin" in sys.modules
    monkeypatch.setenv("AIOP_LOAD_PLUGINS", "")
    assert PluginRegistry().plugins() == []


def test_naming_a_plugin_that_is_not_installed_is_an_error(two_installed, monkeypatch):
    monkeypatch.setenv("AIOP_LOAD_PLUGINS", "alpa")
    with pytest.raises(
        UnknownNameError, match="AIOP_LOAD_PLUGINS names 'alpa', which is not installed; did you mean 'al"
    ):
        PluginRegistry()
