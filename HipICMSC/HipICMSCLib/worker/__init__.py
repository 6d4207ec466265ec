"""The process beside Slicer: protocol, pre-flight, run times, self-test, environment, system report.

May import results, the engine, models, reading and all below them; not batch.
"""
