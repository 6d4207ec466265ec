"""Hip morphometry: from the labels of femur and hip bone to the numbers that a surgeon decides by.

Arrays and geometry in, frozen dataclasses out; no Qt, no MRML, no torch. May import preprocessing, anatomy and common.
"""
