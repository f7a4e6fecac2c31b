"""The admin process: the approvals page, its API, notifications. For people; agents never reach it."""
