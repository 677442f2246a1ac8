"""Every attention mechanism side by side: what it computes, what it costs here, how far it is from exact attention.

`table.entries` is the table, `run.measure_zoo` measures, `directory.ZooRun` reads what was measured. Nothing heavy is
imported before one of them is, so that the command line can show its help.
"""
