"""What is wrong with a file that a config was to be read from, in words: unknown keys with what was meant."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from overtone.config import Config
from overtone.errors import UsageError, did_you_mean

C = TypeVar("C", bound=Config)


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Args:
        path: the file.
        what: it should hold, such as "recipe", for the message.

    Raises:
        UsageError: it cannot be read, or holds something else.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} is not a {what}: it holds {type(values).__name__}, not keys and values")
    return values


def check(kind: type[C], values: Mapping[str, Any], origin: str, *, hint: str) -> C:
    """Plain values as a config.

    Args:
        kind: the config's class.
        values: as YAML or JSON has them.
        origin: where they are from, for the message.
        hint: what to look at next.

    Raises:
        UsageError: an unknown key (with what was probably meant) or a value that does not fit.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        found: list[dict[str, Any]] = [dict(problem) for problem in error.errors(include_url=False)]
        # A list whose items are wrong is also called too short; what is wrong inside says enough.
        inside = {problem["loc"][:depth] for problem in found for depth in range(1, len(problem["loc"]))}
        problems = [_explain(problem, values, kind) for problem in found if problem["loc"] not in inside]
        raise UsageError(f"{origin}: " + "\n".join(problems), hint=hint) from error


def _explain(problem: Mapping[str, Any], values: Mapping[str, Any], kind: type[Config]) -> str:
    """One validation problem as a sentence."""
    place = _written(problem["loc"], values)
    match problem["type"]:
        case "extra_forbidden":
            fields = _fields(kind, problem["loc"][:-1])
            return f"unknown key '{place}': {did_you_mean(str(problem['loc'][-1]), fields)}"
        case "missing":
            return f"'{place}' is missing"
        case "union_tag_not_found":
            return f"'{place}.kind' is missing"
        case "union_tag_invalid":
            kinds = [each.strip(" '") for each in problem["ctx"]["expected_tags"].split(",")]
            return f"{place}.kind: no '{problem['ctx']['tag']}': {did_you_mean(problem['ctx']['tag'], kinds)}"
        case "value_error":
            return f"{place}: {problem['ctx']['error']}" if place else str(problem["ctx"]["error"])
    message: str = problem["msg"]
    return f"{place}: {message[:1].lower()}{message[1:]} (found {problem['input']!r:.80})"


def _written(place: Sequence[int | str], values: Any) -> str:  # noqa: ANN401 - any YAML value
    """A place as the file writes it; pydantic's holds the kind too, where a union was entered."""
    parts: list[str] = []
    for part in place:
        if isinstance(values, dict) and part not in values and values.get("kind") == part:
            continue
        parts.append(str(part))
        if isinstance(values, dict):
            values = values.get(part)
        elif isinstance(values, list | tuple) and isinstance(part, int):
            values = values[part]
    return ".".join(parts)


def _fields(annotation: Any, place: Sequence[int | str]) -> set[str]:  # noqa: ANN401 - any type annotation
    """The keys known at a place in a config; the place holds the kind where a union was entered."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated or origin is tuple:
        inner = typing.get_args(annotation)[0]
        rest = place[1:] if origin is tuple and place and isinstance(place[0], int) else place
        return _fields(inner, rest)
    if origin is dict:
        return _fields(typing.get_args(annotation)[1], place[1:]) if place else set()
    if origin in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if isinstance(member, type)]
        for member in members:
            tag = member.model_fields.get("kind") if issubclass(member, BaseModel) else None
            if place and tag is not None and tag.default == place[0]:
                return _fields(member, place[1:])
        models = [member for member in members if issubclass(member, BaseModel)]
        return set().union(*(_fields(member, place) for member in models)) if models else set()
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not place:
            return set(annotation.model_fields)
        field = annotation.model_fields.get(str(place[0]))
        return set() if field is None else _fields(field.annotation, place[1:])
    return set()
