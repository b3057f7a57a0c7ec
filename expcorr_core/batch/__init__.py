"""Many photos: inputs, processes, journal, report."""
