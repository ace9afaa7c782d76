"""What the site has beside the pages of this folder: mkdocs calls these when it builds.

The root's CHANGELOG, CONTRIBUTING and SECURITY become pages; a line `<!-- modules: FOLDER -->`
becomes a table of the folder's modules and packages, each with the first line of its docstring.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
FROM_THE_ROOT = ("CHANGELOG", "CONTRIBUTING", "SECURITY")
_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):(?=<code>)")
_MARK = re.compile(r"^<!-- modules: (?P<folder>\S+) -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the root's documents, with their links as the site has them."""
    for name in FROM_THE_ROOT:
        text = (ROOT / f"{name}.md").read_text(encoding="utf-8").replace("](docs/", "](")
        for other in FROM_THE_ROOT:
            text = text.replace(f"]({other}.md", f"]({other.lower()}.md")
        files.append(File.generated(config, f"{name.lower()}.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tables of modules in."""
    return _MARK.sub(lambda mark: "\n".join(_table(ROOT / mark["folder"])), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Take the roles off the names in docstrings, which editors read and Markdown does not."""
    return _ROLE.sub("", html)


def _table(folder: Path) -> Iterator[str]:
    yield "| module or folder | holds |"
    yield "|---|---|"
    for path in _modules(folder):
        source = path / "__init__.py" if path.is_dir() else path
        said = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
        first = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", said.partition("\n")[0])
        name = path.relative_to(folder).as_posix() + "/" * path.is_dir()
        yield f"| `{name}` | {first} |"


def _modules(folder: Path) -> Iterator[Path]:
    """Give a package's modules, its folders, and theirs, but for what has a name like `__x__`."""
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name)):
        if path.is_dir() and (path / "__init__.py").is_file():
            yield path
            yield from (below for below in _modules(path) if below.is_dir())
        elif path.suffix == ".py" and not path.name.startswith("_"):
            yield path
