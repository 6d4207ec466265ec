"""Many volumes: the queue, their files, the summary; one after the other here, or on the workers of a cluster.

May import results, the engine, models, reading and all below them; not worker.
"""
