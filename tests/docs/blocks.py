"""The fenced blocks of the documents, and what is to be done with each, as CONTRIBUTING.md has it."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
REASONS = {
    "gpu": "needs a GPU",
    "docker": "needs a Docker engine",
    "kubernetes": "needs a Kubernetes cluster",
    "network": "needs the network",
    "data": "needs a data set",
    "install": "installs packages",
    "serves": "starts something that does not end by itself",
    "long": "takes longer than a test may",
    "yours": "names something of the reader's own",
}
"""Why a block may go unexecuted; it still has to parse, and its options have to exist."""
_LANGUAGES = {"sh": "sh", "bash": "sh", "shell": "sh", "python": "python", "py": "python"}
_BLOCK = re.compile(
    r"(?:^[ \t]*<!-- run: (?P<marker>[^>]*?) -->\n(?:[ \t]*\n)?)?"
    r"^(?P<indent>[ \t]*)```(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```[ \t]*$",
    flags=re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block of a document."""

    page: Path
    line: int
    """Of the opening fence, from 1."""
    language: str
    """`sh` and `python` are executed; others are data, and parsed where we can."""
    code: str
    marker: str = ""
    """What `<!-- run: ... -->` above it says."""

    @property
    def words(self) -> dict[str, str]:
        """The marker, taken apart: `skip=gpu` is one word with a value, `slow` one without."""
        pairs = (word.partition("=") for word in self.marker.split())
        return {name: value for name, _, value in pairs}

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every document whose commands somebody may paste."""
    written = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [*written, *sorted((ROOT / "model").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Return a document's blocks, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        language = (match["info"].split() or [""])[0].lower()
        found.append(
            Block(
                page=page,
                line=text.count("\n", 0, match.start("indent")) + 1,
                language=_LANGUAGES.get(language, language),
                code=textwrap.dedent(match["code"]),
                marker=match["marker"] or "",
            )
        )
    return found


def all_blocks(*languages: str) -> list[Block]:
    """Return the blocks of all documents in these languages."""
    return [block for page in pages() for block in blocks(page) if block.language in languages]


def without_code(page: Path) -> str:
    """Return a document's prose alone."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))
