"""Many volumes: the queue, their files, the summary.

May import results, the engine, models, reading and all below them; not worker.
"""
