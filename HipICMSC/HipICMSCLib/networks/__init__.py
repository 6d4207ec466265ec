"""The networks that segment and translate, running them slice by slice, the memory and devices they take.

May import preprocessing, anatomy and common.
"""
