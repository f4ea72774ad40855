"""What the notebooks talk to: check, hint, solution, quiz, predict; and the learner's progress."""

from course_lib.checking.answers import check, hint, solution
from course_lib.checking.questions import predict, quiz

__all__ = ["check", "hint", "predict", "quiz", "solution"]
