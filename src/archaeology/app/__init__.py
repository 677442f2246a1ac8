"""The app: a small server that shows a run, and what models make of any image that is given to it."""
