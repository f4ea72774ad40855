"""What each exercise must do: one module a lesson, found by the lesson's number.

    exercise.py   the values a rubric is made of
    verbs.py      how an answer is run: the only part that a separate process needs
    wire.py       how inputs and results cross a process border
    compare.py    whether two results are the same, and if not, where they part
    judge.py      from results to a verdict that names the mistake

Importing this package imports none of them.
"""
