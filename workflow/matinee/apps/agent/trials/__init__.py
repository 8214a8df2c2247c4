"""What the agent's loop is worth: a suite of tasks, its scoring, and a paired comparison."""
