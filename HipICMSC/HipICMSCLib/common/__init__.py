"""What every room uses: errors, settings, files that appear whole, foreign text and files, terminal, voxels in space.

Imports no other room.
"""
