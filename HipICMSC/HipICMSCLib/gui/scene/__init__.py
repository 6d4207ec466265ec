"""MRML in and out: result, review, views, sample data.

May import setup and all below gui.
"""
