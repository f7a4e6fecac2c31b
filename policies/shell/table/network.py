"""Programs that speak to other hosts."""

from onrecord.policies.shell.options import Program

ROWS = (
    Program("curl", "-#0123456fgGiIjklLNRsSvVZ -A: -b:body -c:write -d:body -D:write -e: -F:unknown -H: -m: -o:write -O=unknown "
            "-r: -T:read -u: -w: -x:unknown -X: -y: -Y: -z: -C: --data:body --data-raw: --data-binary:body "
            "--data-urlencode:unknown --json:body --header: --output:write --output-dir:write --request: --url:url "
            "--silent --show-error --fail --fail-with-body --location --insecure --include --head --verbose --max-time: "
            "--connect-timeout: --retry: --retry-delay: --user: --user-agent: --compressed --write-out: --upload-file:read "
            "--http1.1 --http2 --no-progress-meter --get --globoff --cookie:body --cookie-jar:write --max-redirs: "
            "--version --help", special="fetch"),
    Program("wget", "-qvdcNnSr46 -O:write -o:write -a:write -P:write -t: -T: -U: --output-document:write --quiet "
            "--no-verbose --spider --timeout: --tries: --header: --user-agent: --no-check-certificate --post-data: "
            "--post-file:read --method: --body-data: --body-file:read --server-response --max-redirect: --continue",
            special="fetch"),
    Program("ssh slogin autossh mosh", "-46AaCfGgKkMNnqsTtVvXxYy -p: -l: -i:read -b: -c: -m: -o:unknown -F:unknown -L:unknown "
            "-R:unknown -D:unknown -W:unknown -J:unknown -E:write -S:unknown -O:unknown -B: -e: -I:unknown -Q: -w:",
            special="ssh"),
    Program("scp", "-346ABCpqrTvRsOtfd -P: -c: -F:unknown -i:read -J:unknown -l: -o:unknown -S:unknown -D:unknown",
            special="transfer"),
    Program("rsync", "-abcdDghHiIkKlLnoOpPqrRStuUvWxXAyz -e:unknown -f: -T:write -M:unknown -B: --archive --compress --delete "
            "--delete-after --dry-run --exclude: --include: --exclude-from:read --include-from:read --checksum --progress "
            "--partial --inplace --stats --verbose --recursive --times --links --perms --owner --group --omit-dir-times "
            "--human-readable --itemize-changes --numeric-ids --bwlimit: --size-only --update --quiet --info: "
            "--max-size: --min-size: --chmod:unknown", special="transfer"),
    Program("sftp ftp lftp tftp smbclient rsh rlogin rexec rcp", special="opaque", action="unknown",
            why="carries anything to another host"),
    Program("nc ncat netcat nc.openbsd nc.traditional socat telnet openssl cryptcat pwncat chisel ngrok "
            "stunnel proxychains ssh-keyscan", special="dial", action="unknown"),
    Program("ping ping6 traceroute tracepath mtr arping", "-46nqAbBDdfLOrRUvV -c: -i: -W: -w: -s: -I: -t: -m:", "dial",
            action="write", why="speaks to another host"),
    Program("nmap masscan tcpdump tshark dumpcap", special="opaque", action="unknown", why="may run scripts or write files"),
    Program("git", special="git"),
    Program("git-upload-pack git-upload-archive", "--strict --timeout: --stateless-rpc --advertise-refs", "read"),
    Program("git-receive-pack", "--stateless-rpc", "below", action="write"),
    Program("hg svn cvs bzr fossil", "", special="interpreter"),
    Program("sftp-server internal-sftp", special="opaque", action="unknown", why="serves files past the decision on each"),
    Program("ip ifconfig route iptables ip6tables nft ufw firewall-cmd nmcli ethtool iw tc brctl bridge wg", "",
            special="netadmin"),
    Program("ssh-keygen ssh-add ssh-agent ssh-copy-id gpg gpg2 gpg-agent keytool certbot age", special="opaque",
            action="admin", why="makes or moves keys"),
)  # fmt: skip
