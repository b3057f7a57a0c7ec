"""Photos that belong together: one scene, one bracket, one time-lapse."""
