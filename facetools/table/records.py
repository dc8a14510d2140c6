"""Records that other commands write as JSONL: clusterings that were compared, epochs of a training, eigenfaces.

`read_records` reads a file of them and checks the values that a report uses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from facetools.table.content import open_content
from facetools.table.errors import InputError
from facetools.table.json_stream import read_objects
from facetools.table.streams import open_input


@dataclass(frozen=True)
class _Type:
    """The type of a value: `accepts` tells whether a value has it."""

    description: str
    accepts: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e300  # sums and products of values stay finite


_COUNT = _Type("a count", lambda value: type(value) is int and 0 <= value <= 2**53)
_NUMBER = _Type("a number up to 1e300", _is_number)
_NUMBER_OR_NULL = _Type("a number up to 1e300", lambda value: value is None or _is_number(value))  # null is not finite
_SILHOUETTE = _Type("a number from -1 to 1", lambda value: _is_number(value) and -1 <= value <= 1)
_SHARE = _Type("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
_TEXT = _Type("a text", lambda value: isinstance(value, str) and "\0" not in value)
_TEXTS = _Type("a list of texts", lambda value: isinstance(value, list) and all(map(_TEXT.accepts, value)))
_NUMBERS = _Type("a list of numbers", lambda value: isinstance(value, list) and all(map(_is_number, value)))
_OBJECT = _Type("an object", lambda value: isinstance(value, dict))


@dataclass(frozen=True)
class RecordKind:
    """The records of one command. The keys `required` must be there, and `optional` ones may be missing or null."""

    command: str
    required: dict[str, _Type]
    optional: dict[str, _Type] = field(default_factory=dict)


COMPARISON = RecordKind(
    "fa-cluster --compare",
    {"method": _TEXT, "clusters": _COUNT},
    {
        "k": _COUNT,
        "noise": _COUNT,
        "inertia": _NUMBER,
        "silhouette": _SILHOUETTE,
        "parameters": _OBJECT,
        "faces": _COUNT,
        "noise_share": _SHARE,
    },
)
HISTORY = RecordKind(
    "fa-train",
    {"epoch": _NUMBER, "loss": _NUMBER_OR_NULL},
    dict.fromkeys(
        (
            *("learning_rate", "images_per_second"),
            *("valid_loss", "valid_accuracy", "valid_balanced_accuracy", "valid_average_precision"),
        ),
        _NUMBER,
    ),
)
EIGENFACES = RecordKind(
    "fa-eigenface",
    {"cluster": _COUNT, "faces": _COUNT, "mean": _TEXT, "components": _TEXTS, "explained_variance_ratio": _NUMBERS},
)


def read_records(source: str, kind: RecordKind) -> list[dict[str, Any]]:
    """Read the records of the given kind from the file `source`, or from stdin for `-`.

    Raises InputError, which starts with `source` and the line, if there is anything but JSON objects, if a key is
    missing or its value is not valid, and if there are no records.
    """
    records = []
    try:
        with open_input(source) as stream:
            for line, record in read_objects(open_content(stream)):
                _check_record(record, line, kind)
                records.append(record)
        if not records:
            raise InputError(f"no records of {kind.command}")
    except InputError as error:
        raise InputError(f"{'standard input' if source == '-' else source}: {error}") from None
    return records


def _check_record(record: dict[str, Any], line: int, kind: RecordKind) -> None:
    for key, value_type in (kind.required | kind.optional).items():
        if key in kind.required and key not in record:
            raise InputError(f"line {line} has no '{key}'; it is no record of {kind.command}")
        value = record.get(key)
        if not value_type.accepts(value) and (value is not None or key in kind.required):
            text = repr(value)
            text = text if len(text) <= 60 else f"{text[:57]}..."
            raise InputError(f"line {line}: '{key}' is {text}, not {value_type.description}")
