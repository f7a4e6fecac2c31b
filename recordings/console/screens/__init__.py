"""The console's screens: the timeline, and what opens over it."""
