"""Training, evaluation and data sets; each script runs as a file or as a module of this package."""
