from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiop_core.errors import OptionError
from aiop_core.options import build_options, option, option_fields, options_dict, suggest


@dataclass(frozen=True)
class Options:
    width: float = option(1.2, "width multiplier", choices=(1.0, 1.2), source="paper, table 2")
    epochs: int = option(10, "passes over the training set", minimum=1, maximum=500)
    lr: float = option(1e-3, "learning rate", minimum=0)
    flip: bool = option(True, "mirror images at random")
    data: str = option("synthetic", "data set")
    data_dir: Path | None = option(None, "folder of the data set", runtime=True)
    input_hw: tuple[int, int] = option((128, 96), "height and width", minimum=32)
    steps: tuple[float, ...] = option((0.5, 0.8), "where the rate falls")
    parts: tuple[str, ...] = option(("all",), "parts", choices=("all", "left", "right"))


def test_fields_say_what_a_user_needs_to_know():
    width, epochs, *_, parts = option_fields(Options)
    assert (width.name, width.default, width.help) == ("width", 1.2, "width multiplier (paper, table 2)")
    assert (width.allowed, epochs.allowed) == ("one of 1.0, 1.2", "a whole number at least 1 and at most 500")
    assert parts.allowed == "some of all, left, right"
    assert [f.flag for f in option_fields(Options) if "_" in f.name] == ["data-dir", "input-hw"]
    assert [f.name for f in option_fields(Options) if f.optional] == ["data_dir"]


@pytest.mark.parametrize(
    ("name", "given", "parsed"),
    [
        ("width", "1.0", 1.0),
        ("width", 1, 1.0),
        ("epochs", " 3 ", 3),
        ("epochs", 3.0, 3),
        ("lr", "1e-4", 1e-4),
        ("flip", "off", False),
        ("flip", "YES", True),
        ("flip", False, False),
        ("data", "lsp", "lsp"),
        ("data_dir", "a/b", Path("a/b")),
        ("data-dir", "none", None),
        ("data_dir", None, None),
        ("input_hw", "64,48", (64, 48)),
        ("input_hw", [64, 48], (64, 48)),
        ("steps", "0.9", (0.9,)),
        ("steps", "", ()),
        ("parts", "left,right", ("left", "right")),
    ],
)
def test_values_from_a_command_line_or_a_config_file(name, given, parsed):
    found = getattr(build_options(Options, {name: given}), name.replace("-", "_"))
    assert found == parsed
    assert type(found) is type(parsed)


@pytest.mark.parametrize(
    ("name", "given", "allowed"),
    [
        ("width", "1.1", "one of 1.0, 1.2"),
        ("width", "wide", "one of 1.0, 1.2"),
        ("epochs", "0", "a whole number at least 1 and at most 500"),
        ("epochs", 501, "a whole number at least 1 and at most 500"),
        ("epochs", 2.5, "a whole number"),
        ("epochs", True, "a whole number"),
        ("lr", "nan", "a number at least 0"),
        ("lr", "inf", "a number at least 0"),
        ("lr", -1, "a number at least 0"),
        ("flip", "maybe", "true or false"),
        ("data", False, "a text"),
        ("data_dir", 5, "a path"),
        ("input_hw", "64", "2 whole numbers separated by commas at least 32"),
        ("input_hw", "64,16", "2 whole numbers separated by commas at least 32"),
        ("input_hw", 64, "2 whole numbers separated by commas"),
        ("steps", "0.5,x", "any number of numbers separated by commas"),
        ("parts", "left,up", "some of all, left, right"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(name, given, allowed):
    with pytest.raises(OptionError) as caught:
        build_options(Options, {name: given}, prefix="task.")
    assert str(caught.value).startswith(f"option 'task.{name}' is '{given}', allowed is {allowed}")


def test_a_missing_value_is_refused():
    with pytest.raises(OptionError, match="option 'epochs' needs a value: a whole number"):
        build_options(Options, {"epochs": None})


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(OptionError, match=r"unknown option 'task\.epoch'; did you mean 'epochs'\? allowed are: data, "):
        build_options(Options, {"epoch": 3}, prefix="task.")


@dataclass(frozen=True)
class Checked:
    low: int = option(1, "lower end")
    high: int = option(2, "upper end")

    def __post_init__(self):
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")


def test_a_check_of_the_dataclass_itself_is_an_option_error():
    with pytest.raises(OptionError, match=r"^task\.low 3 is above high 2$"):
        build_options(Checked, {"low": 3}, prefix="task.")
    with pytest.raises(OptionError, match=r"^options: low 3 is above high 2$"):
        build_options(Checked, {"low": 3})


@dataclass
class Mutable:
    width: int = option(1, "width")


@dataclass(frozen=True)
class NoDefault:
    width: int


@dataclass(frozen=True)
class Factory:
    widths: tuple[int, ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class Mapped:
    widths: dict = option(None, "widths")


@dataclass(frozen=True)
class Either:
    width: int | str = option(1, "width")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Mutable, "must be a frozen dataclass"),
        (int, "options <class 'int'> must be a frozen dataclass"),
        (Options(), "must be a frozen dataclass"),
        (NoDefault, "option 'width' of NoDefault needs a default"),
        (Factory, "option 'widths' of Factory needs a default"),
        (Mapped, r"option 'widths' of Mapped has the type .*dict.*; allowed are bool, int, float, str, Path"),
        (Either, r"option 'width' of Either has the type int \| str"),
    ],
)
def test_options_that_cannot_become_flags_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        option_fields(options)


@given(
    width=st.sampled_from([1.0, 1.2]),
    epochs=st.integers(1, 500),
    lr=st.floats(0, 1e6),
    flip=st.booleans(),
    data_dir=st.none() | st.sampled_from(["a", "b/c"]).map(Path),
    input_hw=st.tuples(st.integers(32, 999), st.integers(32, 999)),
    steps=st.lists(st.floats(-9, 9)).map(tuple),
)
def test_plain_values_build_the_same_options_again(**values):
    options = Options(**values)
    assert build_options(Options, options_dict(options)) == options


@given(steps=st.lists(st.floats(-9, 9)).map(tuple), input_hw=st.tuples(st.integers(32, 99), st.integers(32, 99)))
def test_tuples_read_back_from_a_command_line(steps, input_hw):
    texts = {"steps": ",".join(map(repr, steps)), "input_hw": ",".join(map(str, input_hw))}
    found = build_options(Options, texts)
    assert (found.steps, found.input_hw) == (steps, input_hw)


def test_plain_values_are_json_and_may_leave_out_what_changes_no_result():
    import json

    plain = options_dict(Options(data_dir=Path("x")))
    assert json.loads(json.dumps(plain)) == plain
    assert plain["data_dir"] == "x"
    assert "data_dir" not in options_dict(Options(), runtime=False)


def test_suggestions():
    assert suggest("alpa", ["alpha", "beta"]) == "did you mean 'alpha'? allowed are: alpha, beta"
    assert suggest("zzz", ["alpha", "beta"]) == "allowed are: alpha, beta"
    assert suggest("zzz", []) == "there are none"
    many = [f"name{i:02}" for i in range(50)]
    assert suggest("zzz", many) == "50 are allowed, such as name00, name01, name02, name03, name04"
    assert suggest("name7", many).startswith("did you mean 'name")
    assert suggest("alph", {"alpha": 1}, show=lambda n: f"--{n}") == "did you mean '--alpha'? allowed are: --alpha"
