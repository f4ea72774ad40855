"""One widget a lesson, each on the learner's own tensors; `frame.py` is what all of them are built on."""
