"""Scene validation and consistency, on any model that judges images. Plain logic on the seam: no engine is known here.

elements.py cuts descriptions, scenes.py holds a picture against one, consistency.py holds pictures against each
other, described.py what the model says of them; defaults.py is what the catalog says of both.
"""

from adapters.vision.consistency import ASPECTS, MAX_FRAMES, check_consistency
from adapters.vision.defaults import SceneDefaults
from adapters.vision.described import asked_for
from adapters.vision.elements import MAX_ELEMENTS, Decomposition, Decompositions, decompose, elements
from adapters.vision.scenes import THRESHOLD, validate_scene

__all__ = [
    "ASPECTS",
    "MAX_ELEMENTS",
    "MAX_FRAMES",
    "THRESHOLD",
    "Decomposition",
    "Decompositions",
    "SceneDefaults",
    "asked_for",
    "check_consistency",
    "decompose",
    "elements",
    "validate_scene",
]
