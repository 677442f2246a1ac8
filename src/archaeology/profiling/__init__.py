"""What a specimen costs: parameters, FLOPs, memory, latency and throughput, by image size and patch size.

`run.measure_profile` measures, `directory.ProfileRun` reads what was measured. Nothing heavy is imported before one of
them is, so that the command line can show its help.
"""
