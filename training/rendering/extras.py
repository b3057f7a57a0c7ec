"""What the ``data`` extra installs, imported where it is needed."""

from __future__ import annotations

import importlib
from types import ModuleType


def extra(name: str) -> ModuleType:
    """Import a module of the ``data`` extra.

    Raises:
        ModuleNotFoundError: it is missing; the message says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ModuleNotFoundError(f"this needs {package}: pip install 'expcorr[data]'") from error
