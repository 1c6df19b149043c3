"""What can go wrong between respondents and agents. What can go wrong before that is in `assets/sources/errors.py`.

    PopulationError
    ├── CalibrationError            design weights cannot be calibrated
    │   ├── InconsistentMargins       margins contradict themselves, one another or the attributes
    │   ├── EmptyMarginLevel          a level with a positive total has no respondent
    │   ├── MissingMarginAttribute    a respondent has no value in an attribute that a margin uses
    │   └── RakingNotConverged        the margins cannot be met in the iterations allowed
    └── SynthesisError              agents cannot be made from the calibrated respondents

Every message says what failed, what was found, what was allowed and the next step.
"""


class PopulationError(ValueError):
    """Something between respondents and agents cannot go on; no table is written."""


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
