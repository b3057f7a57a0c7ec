"""Measurements: speed as ratios of times taken in one run, accuracy, and memory."""
