"""The interface of a running ComfyUI in Chromium, driven by the scripts ``browser*.mjs``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from comfyui_host import ROOT, Host

CHROMIUM = os.environ.get("CHROMIUM_PATH") or shutil.which("chromium")
PLAYWRIGHT = os.environ.get("PLAYWRIGHT_CORE")
SECONDS = 1800
NEEDED = {
    "Chromium is not installed, and CHROMIUM_PATH names none": CHROMIUM,
    "PLAYWRIGHT_CORE names no node_modules with playwright-core": PLAYWRIGHT,
    "Node.js is not installed": shutil.which("node"),
}
MISSING = [reason for reason, part in NEEDED.items() if not part]

needs_browser = pytest.mark.skipif(bool(MISSING), reason="; ".join(MISSING))


def in_browser(script: str, host: Host, **order: Any) -> dict[str, Any]:
    """Run a script with Chromium on the server's interface; gives what it saw. SCREENSHOTS is a folder for pictures."""
    pictures = os.environ.get("SCREENSHOTS")
    order |= {
        "url": host.url,
        "chromium": CHROMIUM,
        "playwright": PLAYWRIGHT,
        "screenshots": pictures and str(Path(pictures).resolve()),
    }
    command = ["node", str(ROOT / "tests" / script), json.dumps(order)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr
    return dict(json.loads(result.stdout))
