"""What the own tests need: longer words, a larger font, a look at what is cut, a package of Python's.

Imports nothing of ours.
"""
