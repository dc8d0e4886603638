"""What a person sees while a long command runs."""

import io
import re
import sys

import pytest

from aiop_core.cli import view as views


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_bars_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    with views.open_view() as view:
        outer, inner = view.stage("architectures"), view.stage("e4k7[weird]|" + 60 * "x")
        outer(0, 2)
        inner(1, 3, "loss [0.5]")
        view.say("a line [with brackets]")
        view._progress.refresh()
        inner(3, 3)
        outer(2, 2)
        assert view._progress.tasks == []
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert "a line [with brackets]" in shown
    assert "e4k7[weird]|xxx" in shown
    assert "1/3" in shown
    assert "loss [0.5]" in shown
    assert "x…" in shown


def test_elsewhere_lines_are_few_and_have_an_eta(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    clock = [0.0]
    monkeypatch.setattr(views.time, "monotonic", lambda: clock[0])
    with views.open_view() as view:
        step = view.stage("graphs")
        for done in range(1, 101):
            clock[0] += 0.5
            step(done, 100, "x")
    assert capsys.readouterr().err.splitlines() == [
        "graphs: 20/100, ETA 0:40  x",
        "graphs: 40/100, ETA 0:30  x",
        "graphs: 60/100, ETA 0:20  x",
        "graphs: 80/100, ETA 0:10  x",
        "graphs: 100/100  x",
    ]


def test_the_eta_of_a_resumed_stage_is_that_of_its_own_pace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    clock = [0.0]
    monkeypatch.setattr(views.time, "monotonic", lambda: clock[0])
    with views.open_view() as view:
        step = view.stage("architectures")
        step(10, 20)
        clock[0] += 60
        step(11, 20)
    assert capsys.readouterr().err == "architectures: 11/20, ETA 9:00\n"
