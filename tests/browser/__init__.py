"""Real JupyterLab in a real browser: what a learner does with a notebook, done by the tests."""
