"""Model packages: one file of weights, model.json and card; which are there and which is chosen.

May import networks, preprocessing, measures, anatomy and common.
"""
