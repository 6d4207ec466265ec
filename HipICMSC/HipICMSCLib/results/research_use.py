"""What is said wherever a result is handed out. In a file of its own, because Slicer's own process has no torch."""

RESEARCH_USE = "For research use only; not a medical device."
