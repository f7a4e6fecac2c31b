"""Notifications: who hears that a command waits, was decided, or that something was killed."""
