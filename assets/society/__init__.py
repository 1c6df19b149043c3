"""Tie formation, media sources and graph statistics: from agents to a typed social graph. No opinions, no events."""
