"""Generators and discriminators that only a training needs, parameters, weight averages.

May import HipICMSCLib alone.
"""
