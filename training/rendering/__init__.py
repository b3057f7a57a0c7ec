"""From raw files and HDR pictures to training pairs: light, exposure, tone, alignment, splits."""
