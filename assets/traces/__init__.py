"""Scenarios, personas, prompts, teachers and elicitation: what is asked, of whom, and what was answered. No training."""
