"""What is measured on a segmented hip, such as angles and coverage.

May import preprocessing, anatomy and common.
"""
