"""Programs that change, make and remove files."""

from onrecord.policies.shell.options import Program

_ASK = " --help --version"
_COPY = ("-abdfilLnpPrRsTuvxZ -t:target -S: --archive --backup? --force --interactive --link --no-clobber --no-dereference "
         "--dereference --parents --preserve? --no-preserve: --recursive --reflink? --remove-destination --sparse: "
         "--strip-trailing-slashes --suffix: --symbolic-link --target-directory:target --no-target-directory --update? "
         "--verbose --one-file-system --relative -c -D -C" + _ASK)  # fmt: skip

ROWS = (
    Program("rm", "-dfiIrRv --dir --force --interactive? --one-file-system --preserve-root? --recursive --verbose" + _ASK,
            "delete*", action="write"),
    Program("rmdir unlink", "-pv --parents --verbose --ignore-fail-on-non-empty" + _ASK, "delete*", action="write"),
    Program("shred", "-fuvxz -n: -s: --force --iterations: --size: --remove? --verbose --exact --zero", "delete*",
            action="write"),
    Program("mkdir", "-pvZ -m: --mode: --parents --verbose" + _ASK, "write*", action="write"),
    Program("touch", "-acfhm -d: -r:read -t: --date: --reference:read --no-create --time: --no-dereference" + _ASK, "write*",
            action="write"),
    Program("truncate", "-co -r:read -s: --no-create --size: --reference:read" + _ASK, "write*", action="write"),
    Program("fallocate", "-cdnvxz -l: -o: --length: --offset:", "write*", action="write"),
    Program("tee", "-aip --append --ignore-interrupts --output-error?" + _ASK, "write*"),
    Program("sponge", "-a", "write*"),
    Program("cp mv", _COPY, special="copy", action="write"),
    Program("ln", "-bfFinrsTvLP -t:target -S: --force --symbolic --relative --no-dereference --verbose --logical --physical "
            "--target-directory:target --no-target-directory --interactive --backup? --suffix:" + _ASK, special="copy",
            action="write"),
    Program("install", "-bcCDdpsTv -m:unknown -o:unknown -g:unknown -t:target --backup? --directory --mode:unknown",
            special="copy", action="admin", why="sets owners and modes"),
    Program("chmod", "-cfRv --changes --quiet --silent --recursive --verbose --reference:read" + _ASK, special="chmod",
            action="write"),
    Program("chown chgrp", "-cfhHLPRv --changes --recursive --verbose --from: --reference:read --no-dereference" + _ASK,
            "data write*", action="admin", why="gives files to others"),
    Program("chattr setfacl setcap setfattr chcon restorecon", special="opaque", action="admin", why="changes rights"),
    Program("mkfifo", "-m: --mode:", "write*", action="write"),
    Program("mknod", special="opaque", action="admin", why="makes devices"),
    Program("mktemp", "-dqut -p: --directory --dry-run --quiet --suffix: --tmpdir?", "data", action="write"),
    Program("dd", special="dd", action="write"),
    Program("split csplit", "-deux -a: -b: -C: -l: -n: --bytes: --lines: --number: --numeric-suffixes? --suffix-length: "
            "--additional-suffix:", special="split", action="write"),
    Program("sed", "-nErsuz -e: -f: -i? -l: --expression: --file: --in-place? --quiet --silent --regexp-extended "
            "--separate --unbuffered --null-data --posix --line-length: --sandbox --debug" + _ASK, special="sed"),
    Program("awk gawk mawk nawk", "-F: -v: -f: --field-separator: --assign: --file: --version", special="awk"),
    Program("tar", "-cxtvzjJakpmhUwOSn -f: -C: -T: -X: --create --extract --get --list --verbose --gzip --bzip2 --xz --zstd "
            "--auto-compress --file: --directory: --files-from: --exclude-from: --exclude: --strip-components: --to-stdout "
            "--keep-old-files --no-same-owner --no-same-permissions --preserve-permissions --same-owner --wildcards "
            "--one-file-system --numeric-owner --owner: --group: --mtime: --sort: --overwrite --skip-old-files "
            "--no-recursion --totals" + _ASK, special="tar"),
    Program("gzip gunzip bzip2 bunzip2 xz unxz zstd unzstd lzma unlzma", "-cdfhklLnNqrtvV0123456789 -T: --stdout --to-stdout "
            "--decompress --uncompress --force --keep --list --quiet --test --verbose --best --fast --threads:" + _ASK,
            special="compress"),
    Program("unzip", "-lvtpoqnjZzuaC -d: -x:", special="unpack"),
    Program("zip 7z 7za rar unrar ar cpio pax", "", "unknown*", action="write"),
    Program("rename", "", "unknown*", action="write"),
    Program("patch", "", "unknown*", action="write", why="writes the files that the patch names"),
    Program("sync", "-df", "read*"),
)  # fmt: skip
