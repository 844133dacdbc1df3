"""Which modules are audited, and under which keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from propolis import PropolisError
from propolis.demo import catalogue, standard_library


def test_every_module_is_there_once_in_order_and_nothing_else(library: Path) -> None:
    """Installed packages and other files are left out."""
    paths = [module.path for module in catalogue(library)]
    expected = ["__init__.py", "bad/bytes.py", "bad/coding.py", "bad/future.py", "bad/null.py", "bad/syntax.py"]
    assert [*expected, "deep/two.py", "one.py"] == paths


def test_a_changed_file_has_another_key_and_the_others_keep_theirs(library: Path) -> None:
    """So a second run audits what has changed, and only that."""
    before = {module.path: module.key for module in catalogue(library)}
    (library / "one.py").write_text("x = 2\n")
    after = {module.path: module.key for module in catalogue(library)}
    assert ["one.py"] == [path for path in before if before[path] != after[path]]


def test_keys_are_unique_also_among_files_of_equal_contents(library: Path) -> None:
    """Every empty __init__.py is a module of its own."""
    (library / "deep" / "__init__.py").touch()
    modules = catalogue(library)
    assert len(modules) == len({module.key for module in modules})


@pytest.mark.parametrize("limit", [1, 3, 8, 100])
def test_limit_takes_that_many_spread_evenly_and_always_the_same(library: Path, limit: int) -> None:
    """A second run with the same limit has to find the same modules."""
    taken = catalogue(library, limit)
    assert min(limit, 8) == len(taken)
    assert taken == catalogue(library, limit)
    assert set(taken) <= set(catalogue(library))


def test_a_folder_that_is_not_there_or_has_no_module_is_refused(tmp_path: Path) -> None:
    """With its path."""
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(PropolisError, match=str(folder)):
            catalogue(folder)


def test_the_standard_library_is_found() -> None:
    """It is on every machine."""
    paths = {module.path for module in catalogue(standard_library(), None)}
    assert {"json/decoder.py", "ast.py"} <= paths
