"""Bilateral guided upsampling (Chen et al. 2016): grid, energy, the direct and the iterative solver, slicing."""
