"""The agent: memory, plan, act, reflect, keep; each part can be switched off."""
