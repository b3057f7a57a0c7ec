"""A correction as settings of Adobe Camera Raw and Lightroom: one tone curve for each channel, in an XMP sidecar.

Curves are what can be stated most honestly: Camera Raw's curves of red, green and blue work on display values with
sRGB's tone curve, as those fitted here do, so that neutral colours come out as fitted. Its sliders (exposure,
highlights, shadows) adapt to the picture in ways that are not published, so none of them is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..photos import xmp
from .curves import apply_curves, fit_curves
from .lut import OTHER_SIDE, SIDE, decibels, pixels_of

if TYPE_CHECKING:
    from ..image.arrays import AnyImage

POINTS = 16  # of a curve: one at every 17th of the values 0 to 255
SPACE = "http://ns.adobe.com/camera-raw-settings/1.0/"


def camera_raw_settings(before: AnyImage, after: AnyImage, existing: bytes = b"") -> tuple[bytes, float]:
    """A sidecar with the tone curves that come closest to a change of a photo, by least squares.

    Args:
        before, after: the photo before and after, ``(1, 3, H, W)``, sRGB, 0..1, tensors or arrays.
        existing: a sidecar; all that is not a setting of Camera Raw is taken over from it.

    Returns:
        The content of the sidecar; and the PSNR in dB between the result of the curves, on channels of sRGB, and
        ``after``, 100 where they are equal.

    Raises:
        ValueError: the shapes differ, a value is not finite, or the existing sidecar "is damaged or no XMP".
    """
    curves = (fit_curves(*pixels_of(before, after, SIDE), POINTS) * 255).round()
    colours, wanted = pixels_of(before, after, OTHER_SIDE)
    error = decibels(apply_curves(curves / 255, colours), wanted)
    named = zip(("Red", "Green", "Blue"), curves.astype(int).tolist(), strict=True)
    points = _curve("", [0, 255]) + "".join(_curve(name, values) for name, values in named)
    settings = (
        f'<rdf:Description rdf:about="" xmlns:crs="{SPACE}" crs:ProcessVersion="11.0" crs:HasSettings="True"'
        f' crs:ToneCurveName2012="Custom">{points}</rdf:Description>'
    )
    content = xmp.replaced(existing or xmp.packet(""), SPACE, xmp.packet(settings))
    if not content:
        raise ValueError("is damaged or no XMP")
    return content, error


def _curve(name: str, values: list[int]) -> str:
    step = 255 // (len(values) - 1)
    points = "".join(f"<rdf:li>{number * step}, {value}</rdf:li>" for number, value in enumerate(values))
    return f"<crs:ToneCurvePV2012{name}><rdf:Seq>{points}</rdf:Seq></crs:ToneCurvePV2012{name}>"
