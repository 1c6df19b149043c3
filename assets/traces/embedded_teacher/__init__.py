"""The embedded teacher: a statistical stand-in that answers over the OpenAI protocol. It is not an LLM."""
