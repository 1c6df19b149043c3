"""Scenarios, personas, prompts, teachers, elicitation: what is asked, of whom, what was answered. No training."""
