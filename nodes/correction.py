"""Corrections on their way from node to node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from comfy_api.latest import io
from torch import Tensor

from ..expcorr_core.bilateral.grid import BilateralGrid

GridType = io.Custom("EXPCORR_GRID")


@dataclass(frozen=True, eq=False)
class Correction(BilateralGrid):
    """The corrections of images, one each or one for all, on the CPU, and what else was found of the images.

    Attributes:
        strength: 0 to 2, which the grid includes.
        well_exposed: of each image, the probability that it is well exposed; empty where that is not known.
    """

    strength: float = 0.0
    well_exposed: tuple[float, ...] = ()

    @classmethod
    def of(
        cls, grids: Sequence[BilateralGrid], strength: float, well_exposed: Sequence[float | None] = ()
    ) -> Correction:
        """The corrections of single images as one."""
        known = tuple(part for part in well_exposed if part is not None)
        coefficients = torch.cat([grid.coefficients for grid in grids])
        return cls(coefficients, grids[0].limits, strength, known)

    def full(self, index: int) -> tuple[BilateralGrid, float | None]:
        """An image's correction at strength 1, and how surely it is well exposed; only where the strength is not 0."""
        return grid_of(self, index).blend(1 / self.strength), next(iter(self.well_exposed[index : index + 1]), None)


def check_number(correction: BilateralGrid, image: Tensor) -> None:
    """ValueError for corrections that are neither one nor one per image of an IMAGE."""
    count = len(correction.coefficients)
    if count not in (1, len(image)):
        raise ValueError(
            f"the correction is for {count} frames, but {len(image)} images were given; "
            "give as many images, or a correction of a single image"
        )


def grid_of(correction: BilateralGrid, index: int) -> BilateralGrid:
    """The correction of one image."""
    place = min(index, len(correction.coefficients) - 1)
    return correction.having(correction.coefficients[place : place + 1])
