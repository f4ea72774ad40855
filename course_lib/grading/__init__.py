"""Grading a class: from what was handed in to a grade book that nobody who handed in could write to.

    submissions.py  a folder, a zip or a learning platform's download -> submissions
    notebook.py     one notebook -> its answers; needs.py, what each needs from other cells
    isolation.py    which isolation this machine gives
    sandbox.py      a confined process; pool.py, those that wait for the next job
    child.py        what runs inside; warm.py, the process that has imported torch already
    runner.py       a job -> an outcome, compared outside the sandbox
    book.py         the grade book: append-only, resumed after any interruption
    batch.py        all jobs, in threads or on a Dask cluster
    reports.py      CSV, JSON and pages
    private.py      a teacher's own exercises
    nbgrader.py     the same grading inside nbgrader

Importing this package imports none of them.
"""
