"""Video: files read and written with all that goes with the picture, corrections that hold still over time."""
