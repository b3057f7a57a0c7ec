"""Data for training and evaluation: pairs, exposure simulator, data set, losses."""
