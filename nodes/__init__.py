"""ComfyUI nodes: thin adapters over expcorr_core."""
