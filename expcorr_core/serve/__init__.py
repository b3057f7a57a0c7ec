"""An HTTP server that corrects photos (the ``serve`` extra)."""
