"""From survey microdata to agents: surveys, margins, raking, synthesis, households. No ties, no opinions over time."""
