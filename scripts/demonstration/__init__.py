"""`onrecord demo`: embedded real parts, a scripted agent, what it sees and what is on record."""
