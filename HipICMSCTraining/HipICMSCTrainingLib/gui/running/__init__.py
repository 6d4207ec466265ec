"""Commands and trainings as processes of their own.

May import all below gui; not scene.
"""
