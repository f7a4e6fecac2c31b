"""Programs that only read and print."""

from onrecord.policies.shell.options import Program

_ASK = " --help --version"

ROWS = (
    Program("cat", "-AbeEnstTuv --number --show-all --show-ends --show-tabs --squeeze-blank --number-nonblank" + _ASK,
            "read*", calm=True),
    Program("ls dir vdir", "-aAbBcCdDfFgGhHiIklLmnNopqQrRsStTuUvwxXZ1 --all --almost-all --author --escape --color? --directory "
            "--full-time --group-directories-first --human-readable --inode --indicator-style: --no-group --numeric-uid-gid "
            "--recursive --reverse --size --sort: --time: --time-style: --zero --dereference --file-type --classify? "
            "--ignore: --hide: --block-size: --si -I: -w: -T:" + _ASK, "read*", calm=True),
    Program("head tail", "-0123456789 -qvzF -f -n: -c: -s: --lines: --bytes: --quiet --silent --verbose --follow? --retry "
            "--pid: --sleep-interval: --zero-terminated" + _ASK, "read*", calm=True),
    Program("wc", "-clmwL --bytes --chars --lines --words --max-line-length" + _ASK, "read*", calm=True),
    Program("nl", "-p -b: -d: -f: -h: -i: -l: -n: -s: -v: -w:" + _ASK, "read*", calm=True),
    Program("tac rev", "-br -s:" + _ASK, "read*", calm=True),
    Program("cut", "-b: -c: -d: -f: -nsz --bytes: --characters: --delimiter: --fields: --only-delimited --complement "
            "--output-delimiter: --zero-terminated" + _ASK, "read*", calm=True),
    Program("paste", "-sz -d: --delimiters: --serial" + _ASK, "read*", calm=True),
    Program("column", "-textn -s: -o: -c: -N: -R: -J -l: --table --separator:" + _ASK, "read*", calm=True),
    Program("fold fmt", "-bsctu -w: -p: --width: --spaces" + _ASK, "read*", calm=True),
    Program("expand unexpand", "-ia -t: --tabs:" + _ASK, "read*", calm=True),
    Program("join comm", "-123iz -a: -e: -o: -t: -v: -1: -2: -j: --check-order --nocheck-order --header" + _ASK, "read*",
            calm=True),
    Program("cmp diff", "-abBcdeEilnNpqrsStTuwy -n: -U: -C: -I: -x: -W: --brief --unified? --context? --recursive --color? "
            "--ignore-all-space --ignore-case --side-by-side --width: --exclude: --suppress-common-lines --new-file "
            "--label: --strip-trailing-cr --quiet --silent" + _ASK, "read*", calm=True),
    Program("md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum cksum sum", "-bctwz --check --binary --text "
            "--tag --quiet --status --strict --warn -a: --algorithm: --zero" + _ASK, "read*"),
    Program("od hexdump hd", "-abcCdiloxsv -A: -j: -N: -n: -t: -w? -e: -s: --address-radix: --format: --read-bytes:" + _ASK,
            "read*"),
    Program("strings", "-a -e: -f -n: -t: -w --all --bytes: --radix:" + _ASK, "read*"),
    Program("grep egrep fgrep", special="grep", options="-abcEFGhHiIlLnoPqRrsTuUvVwxyzZ -A: -B: -C: -D: -d: -m: -e: -f:read "
            "-0123456789 --after-context: --before-context: --context: --binary-files: --color? --colour? --count "
            "--directories: --devices: --exclude: --exclude-dir: --exclude-from:read --extended-regexp --file:read "
            "--files-with-matches --files-without-match --fixed-strings --ignore-case --include: --invert-match "
            "--line-buffered --line-number --line-regexp --max-count: --no-filename --no-messages --null --null-data "
            "--only-matching --perl-regexp --quiet --recursive --regexp: --silent --text --with-filename --word-regexp "
            "--basic-regexp --byte-offset --no-ignore-case --dereference-recursive" + _ASK, calm=True),
    Program("zcat bzcat xzcat zstdcat", "-fqv", "read*"),
    Program("tr", "-cCdst --delete --squeeze-repeats --complement --truncate-set1" + _ASK, "data*", calm=True),
    Program("stat", "-Lft -c: --format: --printf: --dereference --file-system --terse" + _ASK, "read*", calm=True),
    Program("file", "-bihkLNprsvz0 --brief --mime --mime-type --mime-encoding --dereference", "read*"),
    Program("readlink realpath", "-femnqsvzLP --canonicalize --canonicalize-existing --canonicalize-missing --no-newline "
            "--relative-to: --relative-base: --strip --zero --quiet" + _ASK, "read*", calm=True),
    Program("basename dirname", "-az -s: --multiple --suffix: --zero" + _ASK, "data*", calm=True),
    Program("du", "-0abcdhHklLmPsSx -d: -t: --all --apparent-size --bytes --total --human-readable --max-depth: "
            "--summarize --exclude: --one-file-system --si --time? --block-size: --threshold:" + _ASK, "read*", calm=True),
    Program("df", "-aBhHiklPTvx -t: -x: -B: --all --human-readable --inodes --local --portability --print-type --si "
            "--total --type: --exclude-type: --output? --block-size: --sync" + _ASK, "read*", calm=True),
    Program("ps", special="ps", calm=True),
    Program("pgrep pidof", "-acflLnovwx -d: -g: -G: -P: -s: -t: -u: -U: --count --delimiter: --exact --full --list-full "
            "--list-name --newest --oldest --parent: --euid: --uid: --inverse --ignore-ancestors" + _ASK, "data*"),
    Program("uptime", "-ps --pretty --since" + _ASK),
    Program("free", "-bkmghltwv -s: -c: --bytes --kilo --mega --giga --human --total --wide --si" + _ASK),
    Program("vmstat iostat mpstat", "-adfmnstwDxkhcyzNp -S: -P: --active --stats --wide --timestamp --unit:" + _ASK, "data*"),
    Program("nproc arch tty whoami logname users", "--all --ignore: -s --silent" + _ASK),
    Program("groups", _ASK, "data*"),
    Program("id", "-agGnruzZ --group --groups --name --real --user" + _ASK, "data*"),
    Program("who w", "-abdHlmpqrstTuhfio --all --boot --count --heading --short --no-header" + _ASK, "data*"),
    Program("last lastlog", "-adFiwx -n: -s: -t: -u: -p: -0123456789 --time-format:", "data*"),
    Program("uname", "-asnrvmpio --all --kernel-name --nodename --kernel-release --machine --operating-system" + _ASK),
    Program("lsb_release", "-acdirsv --all --short --description --id --release --codename"),
    Program("getconf", "-a", "data*"),
    Program("getent", "-s:unknown --service:unknown", "data*", special="getent"),
    Program("lscpu lsmem lspci lsusb", "-abceJkmnpstvx --all --bytes --json --online --verbose" + _ASK, ""),
    Program("lsblk", "-abdDefilJmnOpPrStzJ -o: -e: -I: -x: --all --bytes --fs --json --list --noheadings --output: "
            "--paths --raw --topology" + _ASK, "data*"),
    Program("findmnt", "-AabclnrtuvJ -o: -t: --all --json --list --output: --raw --types:" + _ASK, "data*"),
    Program("printenv", "-0 --null" + _ASK, "data*"),
    Program("cal", "-13jmsyw -n:", "data*"),
    Program("seq", "-w -f: -s: --equal-width --format: --separator:", "data*", calm=True),
    Program("factor expr", "", "data*"),
    Program("yes sleep", _ASK, "data*", calm=True),
    Program("true false :", inert=True),
    Program("echo", inert=True),
    Program("pwd", "-LP"),
    Program("jq", "-acCeMnrRsSj --compact-output --raw-output --raw-input --slurp --null-input --exit-status "
            "--sort-keys --tab --indent: --join-output --color-output --monochrome-output", "data read*", special="jq"),
    Program("which", "-as", "data*"),
    Program("journalctl", special="journal", options="-abefklmnqrx -b? -n? -u: -p: -o: -S: -U: -g: -t: -k --unit: --since: --until: --lines? --output: "
            "--priority: --no-pager --follow --reverse --boot? --catalog --grep: --identifier: --utc --quiet --all "
            "--no-hostname --no-full --full --user-unit: --list-boots --disk-usage --dmesg"),
    Program("dmesg", "-TtxkulrfeLdP -l: -f: -S --ctime --level: --facility: --kernel --userspace --raw --notime "
            "--nopager --reltime --decode --color? --json -J", ""),
    Program("ss netstat", "-0146abdeghilmMnNopPrsStTuUVwxZ --all --listening --numeric --processes --tcp --udp --unix "
            "--summary --extended --options --resolve --ipv4 --ipv6 --route --interfaces --statistics --programs "
            "--no-header", "data*"),
    Program("lsof", "-inPlaRtUbw -i? -p: -u: -c: -d: -g? -s? -F? -T? -a -X", "read*"),
    Program("host nslookup dig", "", "unknown*", action="write", why="asks other hosts"),
    Program("tree", "-adfilpsughDFqNQCJnrtUcxv -L: -P: -I: --noreport --dirsfirst --du --si --prune --filelimit: -h",
            "read*"),
    Program("namei", "-lmnovx", "read*"),
    Program("sort", special="sort", options="-bcCdfghiMmnrRsuVz -k: -t: -S: -T:write -o:write --key: --field-separator: "
            "--output:write --buffer-size: --temporary-directory:write --unique --numeric-sort --human-numeric-sort "
            "--reverse --stable --version-sort --ignore-case --dictionary-order --general-numeric-sort --month-sort "
            "--random-sort --merge --check? --zero-terminated --parallel: --sort: --ignore-leading-blanks --debug" + _ASK),
    Program("uniq", "-cdDizu -f: -s: -w: --count --repeated --unique --ignore-case --skip-fields: --skip-chars: "
            "--check-chars: --all-repeated? --group? --zero-terminated" + _ASK, "read write"),
    Program("tsort shuf", "-ez -n: -i: --echo --head-count: --input-range: --zero-terminated", "read*"),
    Program("base64 base32", "-di -w: --decode --ignore-garbage --wrap:" + _ASK, "read*"),
    Program("numfmt", "-z -d: --to: --from: --suffix: --padding: --field: --header? --grouping --round: --format:", "data*"),
    Program("pstree", "-aAcghlnpsStTuUZ -H: -N:", "data*"),
    Program("pmap pwdx", "-xXdqp", "data*"),
    Program("nm size objdump readelf ldd", "", "unknown*"),
    Program("cpuid hostid", ""),
    Program("date", "-uRI -I? -d: -r:read -s:=admin --date: --iso-8601? --rfc-3339: --rfc-email --utc --universal "
            "--reference:read --set:=admin" + _ASK, "data*", special="date"),
    Program("hostname", "-aAdfiIsy --fqdn --short --ip-address --all-ip-addresses --domain --long" + _ASK, ""),
)  # fmt: skip
