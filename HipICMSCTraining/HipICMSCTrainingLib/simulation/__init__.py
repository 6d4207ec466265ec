"""MR slabs simulated from CT and labels: a generative model as a list of named steps. Reads volumes as arrays alone."""
