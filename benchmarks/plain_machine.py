"""Stand-ins for packages that a plain CUDA machine lacks, so that our networks can be measured there.

They name types in annotations and read videos and command lines: nothing that is measured needs them.
"""

import sys
import types
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

_PACKAGES = ("jaxtyping", "tyro")
_NEEDS_AV = "model.footage.reader"


class _Nothing:
    """Any name of a package that is not there: a type with parameters, an error, a marker of arguments."""

    def __class_getitem__(cls, item: Any) -> Any:
        return item[0] if isinstance(item, tuple) else item


class _StandIn(types.ModuleType):
    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (_Nothing, Exception), {})


class _StandIns(MetaPathFinder, Loader):
    """Asked last, so that a package that is there is taken itself."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] in _PACKAGES else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing."""


def prepare() -> None:
    """Put our tree on the path, and stand-ins where packages are missing."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.meta_path.append(_StandIns())
    if find_spec("av") is None:
        sys.modules[_NEEDS_AV] = _StandIn(_NEEDS_AV)
