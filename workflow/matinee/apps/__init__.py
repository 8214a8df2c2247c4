"""What a tuned model is used in: an agent, a chat, a server."""
