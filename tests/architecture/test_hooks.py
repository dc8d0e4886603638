"""Every hook is documented where plugin authors look, and used by a test."""

import inspect

import pytest

from aiop_core import hookspecs
from aiop_core.plugins import KINDS

HOOKS = [name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("aiop_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_documented(hook, root):
    assert f"`{hook}" in (root / "docs" / "plugin-authors.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_tested(hook, files):
    tests = [path for path in files if path.name.startswith("test_") and path.name != "test_hooks.py"]
    assert any(hook in path.read_text(encoding="utf-8") for path in tests)


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_has_a_docstring(hook):
    assert inspect.getdoc(getattr(hookspecs, hook))


def test_every_kind_has_its_hook():
    assert set(KINDS.values()) | {"aiop_register_commands"} == set(HOOKS)
