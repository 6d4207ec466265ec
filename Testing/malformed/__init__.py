"""Malformed files and texts from a seed, and what the product makes of them.

A case is one file, folder or text as a stranger might send it. It goes through the code that a user's own file goes
through, in a child process that is watched, and must come out as a clear refusal or as a right result.
"""
