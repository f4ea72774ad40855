"""Text sources to notebooks: `build` writes and executes them, `check` says which are stale.

`lessons/src/NN_topic.py` gives `lessons/NN_topic.ipynb`; `solutions/src/NN_topic.py` gives `solutions/NN_topic.ipynb`
and `exercises/NN_topic.ipynb`, the learner's copy, unsolved.
"""

from course_lib.authoring.building import build, check, solution_source

__all__ = ["build", "check", "solution_source"]
