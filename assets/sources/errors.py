"""What can go wrong between a file on disk and a table read from it.

    SourceError
    ├── CatalogueError        a data source cannot be used
    │   ├── UnknownSource       nothing of that name is in the catalogue or in the user's data folder
    │   ├── SourceUnavailable   known, but none of its origins is at hand
    │   └── ChecksumMismatch    the file found is not the file that was recorded
    └── CodebookError         a codebook is wrong, or does not fit its file

Every message says what failed, what was found, what was allowed and the next step.
"""


class SourceError(ValueError):
    """An outside file cannot be used; no table is written."""


class CatalogueError(SourceError):
    """A data source cannot be used."""


class UnknownSource(CatalogueError):
    """Nothing of that name is in the catalogue or in the user's data folder."""


class SourceUnavailable(CatalogueError):
    """The source is known, but none of its origins is at hand."""


class ChecksumMismatch(CatalogueError):
    """The file found is not the file that was recorded."""


class CodebookError(SourceError):
    """A codebook is wrong, or does not fit its file."""
