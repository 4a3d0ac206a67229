"""Recognition: which agent acted in an episode, told from how probable its actions are under each candidate.

`likelihood` says how probable each step is, `calibration` what that is worth, `posterior` who it was; `inverse` stands
in for actions that nobody recorded. Numpy only; does not know torch, environments or servers.
"""

from metalearn.recognition.calibration import RecognitionCalibration
from metalearn.recognition.candidates import Candidates
from metalearn.recognition.inverse import InverseModel
from metalearn.recognition.likelihood import EpisodeEvidence, evidence_of, evidence_of_each
from metalearn.recognition.posterior import NONE, Recognition, recognise

__all__ = [
    "NONE",
    "Candidates",
    "EpisodeEvidence",
    "InverseModel",
    "Recognition",
    "RecognitionCalibration",
    "evidence_of",
    "evidence_of_each",
    "recognise",
]
