"""Corrections kept for a training: an MRI with its labels and how they came about, a case a folder.

May import models, reading, anatomy and common.
"""
