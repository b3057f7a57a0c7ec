"""Words that people type into ComfyUI's node search, and what should come first or second for each.

test_nodes.py looks for them in the nodes' texts, test_browser.py types them into a real search.
"""

from __future__ import annotations

CORRECT, VIDEO, FUSION = "Exposure Correct", "Exposure Correct (Video)", "Exposure Fusion (HDR Tone Mapping)"
SERIES = "Exposure Correct (Series)"
SHIFT, REPORT = "Exposure Shift (EV Stops)", "Exposure Report (Histogram)"
MASK = "Exposure Mask (Lost Highlights)"
PLACES = 2
WANTED = {
    "Auto Exposure": ("auto exposure",),  # a blueprint
    CORRECT: (
        "exposure", "correct exposure", "exposure correction", "fix exposure",
        "overexposed", "fix overexposed", "overexposure", "underexposed", "fix underexposed",
        "too dark", "too bright", "dark photo", "bright photo", "brighten", "darken",
        "backlit", "low light", "night", "night photo", "washed out",
        "auto levels", "auto contrast", "auto tone", "auto enhance", "enhance photo", "photo correction",
        "gamma", "dynamic range", "shadows", "highlights", "recover highlights",
    ),
    VIDEO: ("video exposure", "dark video", "brighten video", "flicker", "deflicker"),
    SERIES: (
        "series", "photo series", "photo shoot", "folder of photos",
        "consistent exposure", "match exposure", "same exposure", "same look", "match brightness", "match colors",
        "color consistency", "white balance match", "product photos", "real estate photos", "deflicker photos",
    ),
    FUSION: ("exposure fusion", "tone", "HDR", "tone mapping", "bracketing", "merge exposures", "exposure bracketing"),
    SHIFT: ("EV", "stops", "exposure compensation"),
    REPORT: ("histogram", "clipping", "zebra"),
    MASK: ("exposure mask", "overexposed mask", "highlights mask", "inpaint highlights", "luminosity mask"),
    "Bilateral Upsample": ("guided upsampling",),
    "Laplacian Reconstruct": ("clarity", "local contrast", "frequency separation"),
}  # fmt: skip
WORDS = {word: name for name, words in WANTED.items() for word in words}
