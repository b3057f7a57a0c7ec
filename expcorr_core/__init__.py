"""Exposure correction of photos after "Learning Multi-Scale Photo Exposure Correction" (CVPR 2021)."""

__version__ = "0.1.0"
