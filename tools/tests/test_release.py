import os
import subprocess

import pytest

PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"
[project]
name = "{name}"
dynamic = ["version"]
readme = "README.md"
license = "MIT"
license-files = ["LICENSE"]
dependencies = [{dependencies}]
[tool.hatch.version]
path = "src/{path}/_version.py"
[tool.hatch.build.targets.wheel]
packages = ["src/{top}"]
"""

CHANGELOG = """\
# Changelog

<!-- towncrier release notes start -->

## {version} (2026-01-01)

New.

## 0.1

Old.
"""

API = 'from {name}._version import __version__\n\n__all__ = ["__version__", "f"]\n\n\ndef f(a, b=1):\n    return a\n'


@pytest.fixture
def release(tool, tmp_path, monkeypatch):
    """The release tool, over a repository of two small packages."""
    module = tool("release")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "DIST", tmp_path / "dist")
    add_package(tmp_path, "base-lib", "base_lib", "1.0.0")
    add_package(tmp_path, "name.space_lib", "name/space_lib", "2.3.0", "base-lib>=1.0,<2")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return module


def add_package(root, name, path, version, *dependencies):
    folder = root / "packages" / name
    source = folder / "src" / path
    source.mkdir(parents=True)
    (folder / "docs").mkdir()
    (folder / "changes").mkdir()
    (folder / "changes" / ".gitkeep").touch()
    (folder / "docs" / "index.md").write_text("# Title\n")
    quoted = ", ".join(f'"{one}"' for one in dependencies)
    (folder / "pyproject.toml").write_text(
        PYPROJECT.format(name=name, path=path, top=path.split("/")[0], dependencies=quoted)
    )
    for file in ("README.md", "LICENSE"):
        (folder / file).write_text("text\n")
    (folder / "CHANGELOG.md").write_text(CHANGELOG.format(version=version))
    (source / "py.typed").touch()
    (source / "_version.py").write_text(f'__version__ = "{version}"\n')
    (source / "__init__.py").write_text(API.format(name=path.replace("/", ".")))


def git(root, *arguments):
    identity = {
        f"GIT_{who}_{what}": "x@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    subprocess.run(
        ["git", *arguments],
        cwd=root,
        check=True,
        capture_output=True,
        env={**os.environ, **identity},
    )


def commit(root):
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "x")


def set_version(root, name, path, old, new):
    folder = root / "packages" / name
    for file in (folder / "src" / path / "_version.py", folder / "CHANGELOG.md"):
        file.write_text(file.read_text().replace(old, new))


def reasons(release, name="base-lib", *, tagged=False):
    return list(release.check(release.Package(name), tagged=tagged))


def test_a_package_in_order_can_be_released(release):
    assert reasons(release) == reasons(release, "name.space_lib") == []
    assert release.main(["check", "base-lib", "--tag", "base-lib-v1.0.0"]) == 0


def test_packages_are_released_after_those_they_need(release):
    add_package(release.ROOT, "all", "all", "1.0.0", "name.space-lib>=2,<3")
    assert [package.name for package in release.in_order()] == ["base-lib", "name.space_lib", "all"]
    pyproject = release.ROOT / "packages/base-lib/pyproject.toml"
    extra = '[project.optional-dependencies]\nmore = ["all>=1,<2"]\n'
    pyproject.write_text(f"{pyproject.read_text()}{extra}")
    with pytest.raises(release.Refused, match="need each other: all, base-lib, name"):
        release.in_order()


def test_a_tag_finds_its_package_and_must_say_its_version(release, capsys):
    assert release.main(["pick", "name-space-lib-v2.3.0"]) == 0
    assert capsys.readouterr().out == "name.space_lib\n"
    assert release.main(["pick", "name-space-lib-v2.3.1"]) == 1
    assert "2.3.0" in capsys.readouterr().err
    assert release.main(["pick", "v1.0.0"]) == 1
    assert release.main(["check", "base-lib", "--tag", "base-lib-v1.0.1"]) == 1
    assert release.main(["check", "nonsense"]) == 1


def test_the_notes_are_the_changelog_section_of_the_version(release, capsys):
    assert release.main(["notes", "base-lib"]) == 0
    assert capsys.readouterr().out == "New.\n"


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("src/base_lib/_version.py", '__version__ = "1.0.1"\n', "nothing under a heading"),
        ("src/base_lib/_version.py", '__version__ = "1.00"\n', "write '1.00' as '1.0'"),
        ("src/base_lib/_version.py", '__version__ = "one"\n', "not a version"),
        ("src/base_lib/_version.py", "import os\n", "no literal"),
        ("src/base_lib/py.typed", None, "py.typed is missing"),
        ("LICENSE", None, "LICENSE is missing"),
        ("CHANGELOG.md", "## 1.0.0\n\n## 0.1\nOld.\n", "nothing under a heading"),
    ],
)
def test_what_is_wrong_is_said(release, tmp_path, path, text, reason):
    file = tmp_path / "packages" / "base-lib" / path
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    (found,) = reasons(release)
    assert reason in found


def test_fragments_may_wait_until_the_tag(release, tmp_path):
    (tmp_path / "packages/base-lib/changes/1.fixed.md").write_text("x\n")
    assert reasons(release) == []
    assert "1.fixed.md" in reasons(release, tagged=True)[0]


def test_a_sibling_must_be_in_range_and_released_first(release, tmp_path):
    assert "release it first" in reasons(release, "name.space_lib", tagged=True)[0]
    git(tmp_path, "tag", "base-lib-v1.0.0")
    assert reasons(release, "name.space_lib", tagged=True) == []
    set_version(tmp_path, "base-lib", "base_lib", "1.0.0", "2.0.0")
    assert "but base-lib here is 2.0.0" in reasons(release, "name.space_lib")[0]


def test_a_namespace_must_not_become_a_package(release, tmp_path):
    (tmp_path / "packages/name.space_lib/src/name/__init__.py").touch()
    assert "would break the namespace" in reasons(release, "name.space_lib")[0]


def test_a_broken_api_needs_a_new_major_version(release, tmp_path):
    git(tmp_path, "tag", "base-lib-v1.0.0")
    init = tmp_path / "packages/base-lib/src/base_lib/__init__.py"
    init.write_text(init.read_text().replace("a, b=1", "a, c, b=1"))
    set_version(tmp_path, "base-lib", "base_lib", "1.0.0", "1.1.0")
    (found,) = reasons(release)
    assert "the public API breaks with base-lib-v1.0.0" in found
    assert "f(c)" in found
    set_version(tmp_path, "base-lib", "base_lib", "1.1.0", "2.0.0")
    assert reasons(release) == []
