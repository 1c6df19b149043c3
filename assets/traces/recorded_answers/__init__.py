"""Answers that teachers gave elsewhere, once, to survey questions: described by codebooks, imported as traces."""
