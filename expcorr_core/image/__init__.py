"""Images as tensors: colour, resizing, masks, metrics, reports."""
