"""Occupations and skills: how much of the wages paid pays for skills that AI can perform, and where.

Nothing of agents or simulation lives here; the figures are about published employment, not about synthetic people.
"""
