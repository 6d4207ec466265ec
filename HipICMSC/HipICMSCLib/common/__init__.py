"""What every room uses: errors, settings, files that appear whole, foreign text and files, the terminal.

Imports no other room.
"""
