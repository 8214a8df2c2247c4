"""What the commands take: settings as JSON, files, devices."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from pydantic import BaseModel, ValidationError

from matinee.runtime.errors import ConfigurationError

Options = TypeVar("Options")

Input = Annotated[Path, typer.Option()]
Inputs = Annotated[list[Path], typer.Option(help="Repeat the option for several files.")]
Output = Annotated[Path, typer.Option(help="What the stage writes.")]
Gpus = Annotated[
    int | None,
    typer.Option(help="Devices to hold for this stage; left out, all visible ones are used."),
]


def told(model: type[BaseModel]) -> Any:
    """The option `--params`: the stage's slice of the configuration, as JSON."""

    def read(text: str) -> BaseModel:
        try:
            return model.model_validate_json(text)
        except ValidationError as error:
            listed = "; ".join(
                f"{'.'.join(map(str, one['loc'])) or 'all of it'}: {one['msg']}"
                for one in error.errors()
            )
            raise ConfigurationError(f"--params is no {model.__name__}: {listed}") from None

    return typer.Option("--params", parser=read, metavar="JSON", help="The stage's settings.")


def with_options(kind: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Gives the command of one dataclass an option for each of the dataclass's fields."""
    hints = get_type_hints(kind, include_extras=True)
    fields = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(kind).parameters.items()
    ]

    def decorate(function: Callable[[Options], None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            function(kind(**values))

        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__signature__ = inspect.Signature(fields)  # type: ignore[attr-defined]
        return command

    return decorate


def hold_devices(gpus: int | None) -> None:
    """Leases devices for the rest of this process, unless it is one of several that share them."""
    if gpus is not None and "WORLD_SIZE" not in os.environ:
        from matinee.runtime.leases import lease_until_exit

        lease_until_exit(gpus)
