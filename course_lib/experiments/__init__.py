"""The experiments of the lessons: the same functions at the size of a lesson and at the size of a paper.

One module a lesson. What `course run NN` needs of it: `units(data, trials=…)`, independent pieces of work;
`measure(unit)`, one row of results; `report(rows)`, a table.
"""
