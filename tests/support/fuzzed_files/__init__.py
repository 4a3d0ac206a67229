"""Structure-aware fuzzing of the readers of `FORMATS`: small valid recordings, mutations of them, and an oracle.

`layouts` knows what each format looks like through other libraries than our readers, `mutations` breaks recordings, and
`judge` says whether what came of one was allowed.
"""

from support.fuzzed_files.judge import Case, Verdict, judge
from support.fuzzed_files.layouts import LAYOUTS

__all__ = ["LAYOUTS", "Case", "Verdict", "judge"]
