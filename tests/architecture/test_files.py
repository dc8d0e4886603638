"""What files may be called, how long they may be, and what they may not say."""

import re

MAX_LINES = 400
"""Of a source or test file; longer ones do more than one thing."""

VAGUE = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}

FORBIDDEN = {
    "a package registry": re.compile(
        r"([p]ypi|[p]ythonhosted)[.]org|download\.pytorch\.org|(extra-)?index-url|artifactory"
    ),
    "a path of one machine": re.compile(r"(?<![\w.~*}>])/(root|work|home/\w+|Users/\w+)/\w"),
    "an unfinished mark": re.compile(r"\b(TODO|FIXME|XXX)\b"),
}
"""What no tracked file holds."""


def forbidden(text):
    return [f"{what}: {match.group()}" for what, pattern in FORBIDDEN.items() if (match := pattern.search(text))]


def test_no_file_is_longer_than_it_should_be(files):
    lengths = {p.name: p.read_text(encoding="utf-8").count("\n") for p in files if p.suffix == ".py"}
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_LINES}


def test_no_file_has_a_vague_name(files):
    assert not [path for path in files if path.name in VAGUE]


def test_no_file_names_a_registry_or_a_machine(files, root):
    found = {}
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures
        if path.name != "test_files.py" and (lines := forbidden(text)):
            found[str(path.relative_to(root))] = lines
    assert not found


def test_forbidden_words_are_seen():
    assert forbidden("pip install --index-url x")
    assert forbidden("see https://" + "pypi" + ".org/simple")
    assert forbidden("cd /" + "root/project")
    assert forbidden("# TODO later")
    assert not forbidden("runs/work/x and https://example.org/work")


def test_distributions_are_alike(distribution):
    project, folder = distribution.project, distribution.folder
    assert project["name"] == distribution.name
    assert (project["license"], project["requires-python"]) == ("MIT", ">=3.11")
    assert project["readme"] == "README.md"
    assert (folder / "README.md").read_text(encoding="utf-8").startswith(f"# {distribution.name}\n")
    assert (distribution.source / "py.typed").is_file()


def test_all_distributions_have_one_version(distribution, core):
    assert distribution.project["version"] == core.project["version"]


def test_plugins_have_the_same_places(plugin):
    assert (plugin.source / "plugin.py").is_file()
    points = plugin.project["entry-points"]["aiop"]
    assert list(points.values()) == [f"{plugin.package}.plugin"]
    assert any(re.match(r"aiop-core\b", dependency) for dependency in plugin.project["dependencies"])


def test_plugin_folders_are_named_after_a_kind(plugin):
    assert re.match(r"aiop-(family|task|predictor|profiler|executor|zoo)-\w+$", plugin.name)


def test_contributing_is_short(root):
    assert (root / "CONTRIBUTING.md").read_text(encoding="utf-8").count("\n") < 60
