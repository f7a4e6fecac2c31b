"""Approvals while they live: the recorder's desk and its durable state, and the wait inside each data-path process.

`desk` is the authority (recorder process), `state` what it keeps on disk, `holds` a process's side of it.
"""
