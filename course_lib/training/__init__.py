"""Training loops one can read: one network (`fit`), or many trials at once (`fit_trials`)."""

from course_lib.training.loop import Evaluation, batch_rows, evaluate, fit
from course_lib.training.optimizers import adam, sgd
from course_lib.training.trials import fit_trials

__all__ = ["Evaluation", "adam", "batch_rows", "evaluate", "fit", "fit_trials", "sgd"]
