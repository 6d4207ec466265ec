"""What a user sees, a file a panel.

May import running, scene, setup and all below gui.
"""
