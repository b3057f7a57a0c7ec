"""Many photos at once: those of one scene get one look."""
