"""The settings of a training run, which config.json and every checkpoint store, and their check on resume."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from facetools.network.checkpoint import CheckpointError, mismatch_error
from facetools.training.examples import Examples
from facetools.training.recipes import Recipe


def collect_settings(recipe: Recipe, attributes: tuple[str, ...], seed: int, training: Examples) -> dict[str, Any]:
    """The settings that decide the result of a run, as plain values. `taught` is a digest of the teacher scores, or
    False without teachers."""
    scores = training.teacher_scores
    return {
        "recipe": recipe.to_dict(),
        "attributes": list(attributes),
        "seed": seed,
        "images": len(training),
        "taught": False if scores is None else hashlib.sha256(scores.tobytes()).hexdigest()[:12],
    }


@contextmanager
def explain_mismatches(path: Path, entries: dict[str, Any]) -> Iterator[None]:
    """Raise CheckpointError if the block fails because the `entries` of `path` are not those of an interrupted run."""
    for name in ("settings", "progress", "optimizer"):
        if not isinstance(entries.get(name), dict):
            raise mismatch_error(path, f"it has no {name}; only last.pt of a run can be continued")
    try:
        yield
    except CheckpointError:
        raise
    except KeyError as error:
        raise mismatch_error(path, f"{error} is missing") from None
    except (IndexError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise mismatch_error(path, " ".join(str(error).split())) from None


def check_settings(path: Path, saved: dict[str, Any], current: dict[str, Any]) -> None:
    """Raise a CheckpointError if the settings `saved` in the checkpoint `path` differ from the `current` ones."""
    # A checkpoint from before a setting existed was trained with that setting's default.
    defaults = {"taught": False} | _flatten(Recipe().to_dict())
    before = defaults | _flatten(saved)
    for name, value in _flatten(current).items():
        if before.get(name) != value:
            raise CheckpointError(
                f"{path} was trained with {name} {before.get(name)}, not {value}; "
                f"continue with the same settings, or train into another folder"
            )


def _flatten(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of all nested dictionaries in one."""
    flat = {name: value for name, value in settings.items() if not isinstance(value, dict)}
    for value in settings.values():
        if isinstance(value, dict):
            flat |= _flatten(value)
    return flat
