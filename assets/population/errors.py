"""What can go wrong between a survey file and an agent.

    PopulationError
    ├── CatalogueError              a data source cannot be used
    │   ├── UnknownSource             nothing of that name is in the catalogue or in the user's data folder
    │   ├── SourceUnavailable         known, but none of its origins is at hand
    │   └── ChecksumMismatch          the file found is not the file that was recorded
    ├── CodebookError               a codebook is wrong, or does not fit its survey file
    ├── CalibrationError            design weights cannot be calibrated
    │   ├── InconsistentMargins       margins contradict themselves, one another or the attributes
    │   ├── EmptyMarginLevel          a level with a positive total has no respondent
    │   ├── MissingMarginAttribute    a respondent has no value in an attribute that a margin uses
    │   └── RakingNotConverged        the margins cannot be met in the iterations allowed
    └── SynthesisError              agents cannot be made from the calibrated respondents

Every message says what failed, what was found, what was allowed and the next step.
"""


class PopulationError(ValueError):
    """Something between survey files and agents cannot go on; no table is written."""


class CatalogueError(PopulationError):
    """A data source cannot be used."""


class UnknownSource(CatalogueError):
    """Nothing of that name is in the catalogue or in the user's data folder."""


class SourceUnavailable(CatalogueError):
    """The source is known, but none of its origins is at hand."""


class ChecksumMismatch(CatalogueError):
    """The file found is not the file that was recorded."""


class CodebookError(PopulationError):
    """A codebook is wrong, or does not fit its survey file."""


class CalibrationError(PopulationError):
    """Design weights cannot be calibrated."""


class InconsistentMargins(CalibrationError):
    """Margins contradict themselves, one another or the attributes."""


class EmptyMarginLevel(CalibrationError):
    """A level with a positive total has no respondent."""


class MissingMarginAttribute(CalibrationError):
    """A respondent has no value in an attribute that a margin uses."""


class RakingNotConverged(CalibrationError):
    """The margins cannot be met in the iterations allowed."""


class SynthesisError(PopulationError):
    """Agents cannot be made from the calibrated respondents."""
