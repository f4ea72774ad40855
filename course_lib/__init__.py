"""Small Nets: make neural networks small, with every technique written from scratch.

Open one module, read it from top to bottom, use it on your own network:

    measure        what a network costs: parameters, multiplications, bytes, milliseconds, energy
    pruning        scores -> masks -> apply
    data, models, training      what the lessons train
    checking       check, hint, solution, quiz, predict: what the notebooks talk to

Importing `course_lib` itself imports nothing heavy; each room is imported where it is used.
"""

__version__ = "0.1.0"
