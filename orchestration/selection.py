"""Which assets a user asked for by name or by group, with everything that these are made from."""

from collections.abc import Collection

from orchestration.freshness import LINEAGE, STAGE_BY_ASSET


def with_upstream(names: Collection[str]) -> frozenset[str]:
    """The named assets, all assets of the named groups, and whatever any of them is made from.

    Args:
        names: assets, or groups such as `population` and `society`.

    Raises:
        ValueError: a name is neither, or none is given.
    """
    groups = dict.fromkeys(stage.room for stage in LINEAGE)
    unknown = sorted(set(names) - set(groups) - set(STAGE_BY_ASSET))
    if unknown or not names:
        raise ValueError(
            f"--select is {', '.join(unknown) or 'empty'}, which is no group and no asset. Groups: "
            f"{', '.join(groups)}. Assets: {', '.join(STAGE_BY_ASSET)}. Join several by commas."
        )
    waiting = [stage.asset for stage in LINEAGE if stage.asset in names or stage.room in names]
    wanted: set[str] = set()
    while waiting:
        asset = waiting.pop()
        if asset not in wanted:
            wanted.add(asset)
            waiting += STAGE_BY_ASSET[asset].upstream
    return frozenset(wanted)
