"""SHA-256 sums of files, beside the files, as `sha256sum --check` reads them."""

import hashlib
import re
from pathlib import Path

from model.atomic import replacing

SUMS_SUFFIX = ".sha256"
"""Of the file of sums beside an export."""

_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


class ChecksumError(Exception):
    """Files that are not what their sums say; the message names the file and what is wrong."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(sums: Path, files: list[Path]) -> None:
    """Write the sums of files that lie in the folder of `sums`, or below it; replaces it in one step."""
    lines = [f"{file_sha256(file)}  {file.relative_to(sums.parent)}\n" for file in files]
    with replacing(sums) as partial:
        partial.write_text("".join(lines), encoding="utf-8")


def check_checksums(sums: Path, files: list[Path]) -> None:
    """Compare files with their sums.

    Raises:
        ChecksumError: There are no sums, they cannot be read, they are of other files, or one differs.
    """
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ChecksumError(f"{sums} cannot be read: {error}") from error
    said: dict[str, str] = {}
    for line in lines:
        if (match := _LINE.fullmatch(line)) is None:
            raise ChecksumError(f"{sums} holds no list of SHA-256 sums")
        said[match[2]] = match[1]
    names = {str(file.relative_to(sums.parent)): file for file in files}
    if said.keys() != names.keys():
        raise ChecksumError(f"{sums} is of {sorted(said)}; expected {sorted(names)}")
    for name, file in names.items():
        try:
            found = file_sha256(file)
        except OSError as error:
            raise ChecksumError(f"{file} cannot be read: {error.strerror or error}") from error
        if found != said[name]:
            raise ChecksumError(
                f"{file} has the SHA-256 {found[:16]}...; {sums.name} says {said[name][:16]}..."
            )
