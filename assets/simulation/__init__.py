"""Scenario rollouts and what is read from them: outcomes, counterfactuals, profiles, interventions. No training."""
