"""Surveys, margins, raking, synthesis and households: from survey microdata to agents. No ties, no opinions over time."""
