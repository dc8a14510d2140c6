"""Optional dependencies: whether they are installed, and what to say where they are not."""

from __future__ import annotations

from importlib.util import find_spec

#: The extra of `pip install 'facetools[EXTRA]'` that brings a module.
EXTRAS = {
    "torch": "train",
    "torchvision": "train",
    "faiss": "vectors",
    "mtcnn": "photos",
    "backports.zstd": "zstd",
}

#: The names that people know, where the module has another one.
_TITLES = {"torch": "PyTorch", "faiss": "FAISS"}


class MissingExtraError(ImportError):
    """A module of an extra is not installed; the message names the extra."""


def is_installed(module: str) -> bool:
    """Whether `module` can be imported; it is not imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package of a submodule is missing
        return False


def require(module: str, purpose: str) -> None:
    """Raises MissingExtraError if `module` is not installed. `purpose` is the subject of the message: "training"."""
    if not is_installed(module):
        command = f"pip install 'facetools[{EXTRAS[module]}]'"
        raise MissingExtraError(f"{purpose} needs {_TITLES.get(module, module)}, which is not installed: {command}")
