"""Dice, average surface distance, and the scores of results and runs.

May import run and all below it.
"""
