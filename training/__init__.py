"""Training, evaluation and data sets; each script can be run as a file or as a module of this package."""
