"""What must not stand in any file of the repository."""

from __future__ import annotations

import re

from .layout import ROOT, own_files

# Put together here, so that this file passes its own check.
REGISTRIES = tuple(".".join(parts) for parts in (("pypi", "org"), ("registry", "npmjs"), ("deb", "debian")))
HOSTS = re.compile("|".join(re.escape(host) for host in (*REGISTRIES, "python" + "hosted")))
FOLDERS = ("work", "root", "home/[a-z]", "Users/[A-Za-z]", "tmp/dev", "opt/pypi", "opt/wheels")
PATHS = re.compile(r"(?<![\w.\-}])/(?:" + "|".join(FOLDERS) + r")(?:/|\b)")


def occurrences(pattern: re.Pattern[str]) -> list[str]:
    """Every place in a file of ours where `pattern` stands, as file:line: text."""
    found = []
    for path in own_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {match.group()}")
    return found


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the installing machine's affair."""
    assert [] == occurrences(HOSTS)


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    """Nor is where anybody's checkout lies."""
    assert [] == occurrences(PATHS)


def test_a_registry_and_a_machine_path_would_be_found() -> None:
    """The checks above are worth something only if they see these, and let these be."""
    assert HOSTS.search("see https://" + REGISTRIES[0] + "/project/x")
    assert PATHS.search("cd /" + "work/main")
    assert not PATHS.search("a/work/b, ../work, ${HOME}/work/x, runtime/root/stream")
