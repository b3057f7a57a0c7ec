"""ComfyUI's door to the Exposure Correction nodes.

Everything is imported inside the entry point: ComfyUI starts faster, and the checkout's root can be imported
(by pytest, say) where no ComfyUI is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension

WEB_DIRECTORY = "./web/nodes"  # the nodes' help pages; ComfyUI loads every script below it


async def comfy_entrypoint() -> ComfyExtension:
    """Called by ComfyUI when it loads the pack."""
    from .nodes.extension import ExposureCorrectionExtension

    return ExposureCorrectionExtension()
