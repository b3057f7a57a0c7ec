"""Turns raw files and HDR pictures into training pairs: light, exposure, tone, alignment, splits."""
