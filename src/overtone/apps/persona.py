"""Who the assistant is in a conversation: a manner of speaking and a voice, from a file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from overtone.config import Config
from overtone.data.chat import Turn
from overtone.errors import UsageError, did_you_mean
from overtone.schema import check, read_yaml

HINT = "a persona has a `name`, a `manner` and, if you like, a `voice` of `speaker`, `pitch` and `rate`"


class VoiceConfig(Config):
    """How a persona sounds where it is spoken."""

    speaker: str | None = Field(
        None, description="a voice's name in the speech engine, such as en-us+f3; the engine's own where null"
    )
    pitch: float = Field(1.0, ge=0.5, le=2, description="times the speaker's usual pitch")
    rate: float = Field(1.0, ge=0.5, le=2, description="times the speaker's usual speed")


class Persona(Config):
    """A manner of speaking, and a voice."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="what it is called for")
    manner: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        min_length=1, max_length=4000, description="what is told to the model before all else"
    )
    voice: VoiceConfig = VoiceConfig()

    @property
    def turn(self) -> Turn:
        """What stands above the conversation."""
        return Turn("system", self.manner)


def shipped() -> dict[str, Path]:
    """The files of the personas that come with the package, by their names."""
    folder = Path(str(resources.files("overtone") / "personas"))
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def load(name: str) -> Persona:
    """A persona by its name, or from a file.

    Args:
        name: of one that is shipped, or the path of a YAML file.

    Raises:
        UsageError: no persona has the name, or the file cannot be read or holds something else.
    """
    known = shipped()
    path = known.get(name, Path(name))
    if name not in known and path.suffix not in (".yaml", ".yml"):
        raise UsageError(
            f"no persona '{name}'", hint=f"{did_you_mean(name, known)} A file of your own ends in .yaml."
        )
    try:
        values = read_yaml(path, "persona")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}",
            hint=f"check the path, or take one of {', '.join(known)}",
        ) from error
    return check(Persona, values, str(path), hint=HINT)
