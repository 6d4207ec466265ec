"""The version of HipICMSC. In a file of its own, so that Slicer's own process can tell it without torch."""

VERSION = "0.1.0"
