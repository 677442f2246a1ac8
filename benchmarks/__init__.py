"""Side-by-side measurements against other libraries; `make bench` runs them all, `make bench-NAME` one."""
