"""Files that go over exec: scp's old protocol, rsync and git, recognised by their command lines.

`lines`, `scp` and `refs` are pure; `look` asks the host's SFTP server where a path leads; `serve` joins them to exec.
"""
