"""Imported by a script that is run as a file: runs it as a module of its package, so that its imports are found."""

import runpy
import sys
from pathlib import Path

if not __package__:
    script = Path(sys.argv[0]).resolve()
    sys.path[0] = str(script.parent.parent)
    runpy.run_module(f"{script.parent.name}.{script.stem}", run_name="__main__", alter_sys=True)
    sys.exit()
