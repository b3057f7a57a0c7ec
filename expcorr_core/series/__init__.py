"""Many photos at once: those that belong together get one look."""
