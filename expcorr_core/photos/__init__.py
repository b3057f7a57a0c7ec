"""Photo files: read, and written again with all that they carry."""
