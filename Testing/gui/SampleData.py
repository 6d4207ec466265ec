"""Stands in for Slicer's module Sample Data: what may be registered, and what a click on its button does."""

from __future__ import annotations

from pathlib import Path

import slicer

slicer.modules.sampleDataSources = {}


class SampleDataSource:
    """Several addresses, or one; then all other fields are of that one. A list for one address only is refused."""

    def __init__(
        self,
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
    ) -> None:
        if isinstance(uris, str):
            uris, fileNames, nodeNames = [uris], [fileNames], [nodeNames]
        if not len(uris) == len(fileNames) == len(nodeNames):
            raise ValueError("All fields of sample data source must have the same length")
        self.sampleName, self.thumbnailFileName, self.customDownloader = sampleName, thumbnailFileName, customDownloader
        self.uris, self.fileNames, self.nodeNames = uris, fileNames, nodeNames


class SampleDataLogic:
    @staticmethod
    def registerCustomSampleDataSource(category="Custom", **fields) -> None:
        """Slicer compares sources by their text, in which two downloaders differ even if they do the same."""
        slicer.modules.sampleDataSources.setdefault(category, []).append(SampleDataSource(**fields))

    @staticmethod
    def sampleDataSourcesByCategory(category=None):
        sources = slicer.modules.sampleDataSources
        return sources if category is None else sources.get(category, [])


def click(source: SampleDataSource):
    """What the button of a source does."""
    return source.customDownloader(source)


def file_in_cache(source: SampleDataSource) -> Path:
    """Where SampleDataLogic.downloadSample, which does not know the downloader, looks before it asks the network."""
    return Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()) / source.fileNames[0]
