"""The one artefact between training and serving, and the model card that tells people what it is.

`bundle` reads and writes the folder, `model_card` writes its README.md. What makes bundles belongs in `training`.
"""

from metalearn.bundle.bundle import SCHEMA, Bundle, Graphs, Weights, run_bundle

__all__ = ["SCHEMA", "Bundle", "Graphs", "Weights", "run_bundle"]
