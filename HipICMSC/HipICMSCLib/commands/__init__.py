"""What `hipicmsc` does without a training library, a file a command.

Imports any room below; torch is loaded late, for it takes a second that a mistyped command should not cost.
"""
