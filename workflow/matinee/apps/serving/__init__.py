"""A model behind OpenAI's chat completions: what comes in, what goes out, and the limits."""
