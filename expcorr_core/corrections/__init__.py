"""Corrections as files for other programs and for later: look-up tables, Camera Raw settings, the grid itself."""
