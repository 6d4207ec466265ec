"""What a user sees, a file a panel or a part of one.

May import running, scene and all below gui.
"""
