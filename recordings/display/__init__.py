"""How records look: recorded text made harmless, Rich renderables of commands, verdicts, outcomes and results."""
