"""`find -exec`: what it runs, and on which files, as real find does it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from onrecord.policies import Deny
from onrecord.policies.files import plants, secret_file
from onrecord.policies.shell import analyse
from onrecord.policies.testing import answer, ssh

EXAMPLES = int(os.environ.get("ONRECORD_SHELL_EXAMPLES", "60"))
FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(
    ("line", "action", "paths"),
    [
        ("find ./logs -name '*.log' -exec grep -c ERROR {} +", "read", {"logs/**/*.log"}),
        ("find /var/log -type f -exec wc -l {} \\;", "read", {"/var/log/**"}),
        ("find src -name '*.py' -exec rm {} +", "write", {"src/**/*.py"}),
        ("find /srv \\( -name '*.c' -o -name '*.h' \\) -exec cat {} +", "read", {"/srv/**/*.c", "/srv/**/*.h"}),
        ("find /srv -name x.d -prune -o -name '*.c' -exec cat {} +", "read", {"/srv/**/*.c"}),
        ("cd /srv && find app -name '*.c' -exec cat {} +", "read", {"/srv/app/**/*.c"}),
        ("find /srv -type f -name '*.txt' -exec cp {} /tmp/x/ \\;", "write", {"/srv/**/*.txt", "/tmp/x/*.txt"}),
    ],
)
def test_a_program_that_find_runs_is_known_with_the_folders_and_names_it_gets(line, action, paths):
    found = analyse(line)
    assert found.action == action, found.reasons
    assert paths <= found.paths_read | found.paths_written


@pytest.mark.parametrize(
    "expression",
    ["-name '*.log' -o -exec {}", "! -name '*.log' -exec {}", "-not -name '*.log' -exec {}", "-name '*.log' , -exec {}",
     "-exec {} -name '*.log'", "-iname '*.log' -exec {}", "-name '*.lo[g]' -exec {}", "-name '*.lo\\g' -exec {}",
     '-name "$x" -exec {}', "\\( -name '*.log' -o -true \\) -exec {}", "! \\( -name '*.log' \\) -exec {}",
     "\\( ! -name '*.log' \\) -exec {}", "\\( -name '*.log' , -true \\) -exec {}", "-name '*' -exec {}",
     "-name '*.log' -path '*/x/*' -exec {}", "-name '*.log' -prune -o -exec {}", "-name '*.log' -print -o \\( -exec {} \\)"],
)  # fmt: skip
@pytest.mark.parametrize("run", ["cat {} +", "cat {} \\;"])
def test_a_name_that_may_not_hold_narrows_nothing(expression, run):
    found = analyse("find /srv/app " + expression.replace("{}", run))
    assert found.action == "read", found.reasons
    assert "/srv/app/**" in found.paths_read


@pytest.mark.parametrize(
    "run", ["grep -r x", "ls -R", "tar cf -", "du", "cp -rt /tmp/x", "diff -r a", "sudo grep x", "env cat"]
)
def test_a_name_may_be_a_folder_and_what_lies_in_it_is_read_too(run):
    named = analyse(f"find /srv -name '*.d' -exec {run} {{}} +")
    assert named.action == "unknown" or "/srv/**" in named.paths_read
    files = analyse(f"find /srv -type f -name '*.d' -exec {run} {{}} +")
    assert files.action == "unknown" or "/srv/**/*.d" in files.paths_read


@pytest.mark.parametrize(
    "line",
    ["find . -exec sh -c 'cat {}' \\;", "find . -exec sh -c {} \\;", "find '/bin/true #' -exec sh -c {} +", "find . -exec {} x \\;",
     "find /bin/cat -exec {} x \\;", "find . -exec awk {} x \\;", "find . -exec sed -e {} x \\;", "find . -exec sed -n -f {} x \\;",
     "find . -exec sort -o{} x \\;", "find . -exec grep --file={} x \\;", "find . -exec cat x{} \\;", "find . -exec cat {}x \\;",
     "find . -exec env {} \\;", "find . -exec nice {} +", "find a=b -exec env {} id \\;", "find of=x -exec dd {} \\;",
     "find h:x -exec cat {} \\;", "find +x -exec cat {} \\;", "find x* -exec cat {} \\;", "find *x -exec cat {} \\;",
     "find $x -exec cat {} \\;", 'find "$x" -exec cat {} \\;', "find -- x -exec cat {} \\;", "find . -execdir cat {} \\;",
     "find . -execdir cat {} +", "find . -ok cat {} \\;", "find . -okdir cat {} \\;", "find -L . -exec cat {} +",
     "find . -follow -exec cat {} +", "find -L x -delete", "find . -files0-from x -exec cat {} +", "find . -exec cat {} {} +",
     "find . -exec cat {}", "find . -exec cat +", "find . -exec", "find . -exec \\;", "find . -exec cat + {} \\;",
     'find . -exec cat "$x" {} \\;', "find . -exec cat $x {} \\;", "find . -exec cat * {} \\;", "find . -exec cat {} $x",
     'find . -exec cat {} "$x" rm {} +', "find . -exec uniq {} +", "find . -exec cp {} +", "find . -exec mv {} {}.bak \\;",
     "find . \\) -exec cat {} +", "find . -exec cat {a,b} {} +", "find . -exec xargs -a {} rm \\;", "find . -exec eval cat {} \\;",
     "find . -exec flock x {} +", "find . -exec timeout 5 {} +", "find . -exec busybox {} +", "find . -exec python3 {} \\;",
     "find x -type f -exec cp --parents {} /tmp/y \\;", "find x -exec gzip {} \\;", "find x -exec tar -C {} -tf y \\;", "find x -exec dd if={} \\;"],
)  # fmt: skip
def test_what_find_runs_is_unknown_where_a_path_is_more_than_a_path(line):
    assert analyse(line).action == "unknown"


@pytest.mark.parametrize(
    "line",
    ["find / -exec cat {} +", "find ~ -name id_rsa -exec cat {} \\;", "find . -name 'id_*' -exec cat {} \\;", "find /home -exec cat {} +",
     "find / -name shadow -exec cat {} +", "find /etc -name 'sh*' -exec head {} +", "find /h* -name '*.txt' -exec cat {} +",
     "find /srv -name '*.pem' -exec cat {} +", "find /srv -name '.env' -exec cat {} +", "find /srv -name '*.env' -exec cat {} +",
     "find /srv -name '?env' -exec cat {} +", "find /srv -exec cat {} +", "find /srv -iname ID_RSA -exec cat {} +",
     "find /srv -path '*secrets*' -name '*.txt' -exec cat {} +", "find /srv -name secrets -exec grep -r x {} +",
     "find ~ -name '.ss*' -exec tar cf - {} +", "find ~ -type d -name '.aw?' -exec cp -r {} /tmp/x \\;", "find /root -exec cat {} +",
     "find ../.. -name '*.key' -exec cat {} +", "cd /; find . -name '*.txt' -exec cat {} +", "cd /etc && find . -name 'shado*' -exec cat {} +",
     "find /proc -name environ -exec cat {} +", "find /dev -name 'sd*' -exec head {} +", "find /srv/.. -name shadow -exec cat {} +",
     "find ~ -name '*.json' -exec cat {} +", "find .ssh -name 'id_*' -exec base64 {} \\;", "find ~bob -name '*.txt' -exec cat {} +",
     "find /srv ! -name '*.pem' -o -exec cat {} +", "find /x /etc -name 'shadow*' -exec cat {} +", "find . -exec cp {} /tmp/x \\;",
     "find / -type f -size -4k -exec sort {} +", "find /etc/ssl -name '*.txt' -exec cat {} +", "find / -name '*.txt' -exec cat {} +",
     "find /usr/.. -exec cat {} \\;", "find /proc/self/root/ -name shadow -exec cat {} +"],
)  # fmt: skip
def test_key_files_are_denied_to_what_find_runs(line):
    assert isinstance(answer("library:no_key_files", ssh(line)), Deny)


@pytest.mark.parametrize(
    "line",
    ["find ./logs -name '*.log' -exec cat {} +", "find src -name '*.py' -exec grep -n TODO {} +", "find /srv/app -name '*.c' -exec wc -l {} +",
     "cd /srv/app && find . -name '*.c' -exec wc -l {} +", "find /var/log/app -type f -name '*.log' -exec tail -n 3 {} \\;"],
)  # fmt: skip
def test_other_files_are_left_to_others(line):
    assert answer("library:no_key_files", ssh(line)) is None


@pytest.mark.parametrize(
    "line",
    ["find ~ -name .bashrc -exec sed -i s/a/b/ {} \\;", "find ~/.bashrc -exec sed -i s/a/b/ {} \\;", "find . -exec touch {} +",
     "find app -name pre-commit -exec sed -i s/a/b/ {} +", "find app -name '*.py' -exec sed -i s/a/b/ {} +",
     "find /usr -name ls -exec rm {} +", "find / -exec rm -r {} +", "find app -name authorized_keys -exec rm {} +",
     "find ~/bin -type f -exec chmod 755 {} +", "find x -type f -name '*.sh' -exec cp {} ~/bin/ \\;", "find /etc -exec rm {} \\;",
     "find app -type f -exec cp {} /tmp/bin/ \\;",
     "find app -path '*/hooks/*' -exec sed -i s/a/b/ {} +", "find x -exec sudo cat {} +"],
)  # fmt: skip
def test_what_plants_code_by_way_of_find_is_admin(line):
    assert analyse(line).action == "admin"


@pytest.mark.parametrize("name", ["", " -name '*.tmp'"])
def test_rm_by_find_is_judged_as_delete_is(name):
    for start in ("/srv/app", "build", ".", "..", "../..", "../x", "~", "/", "/usr/lib", "/home/x", "/etc/app"):
        assert analyse(f"find {start}{name} -exec rm {{}} +").action == analyse(f"find {start}{name} -delete").action


NAMES = ("etc", "shadow", "home", "bob", ".ssh", "id_rsa", "authorized_keys", "srv", "app", ".env", "x.pem", "usr", "bin", "ls", ".git",
         "hooks", "pre-commit", ".bashrc", "root", "a.txt", "proc", "1", "environ", ".aws", "config", "ssl", "private", "var", "log",
         "cron.d", "dev", "sda", "credentials", ".kube", "conftest.py", "node_modules", "systemd", "passwd", "run")  # fmt: skip


@settings(FUZZ, max_examples=EXAMPLES * 10)
@given(
    head=st.sampled_from(["/", "~/", "", "../"]),
    parts=st.lists(st.sampled_from(NAMES), min_size=1, max_size=5),
    at=st.integers(0, 5),
)
@example(head="/", parts=["home", "bob", ".ssh", "id_rsa"], at=1)
@example(head="", parts=["etc", "shadow"], at=0)
def test_no_file_below_a_folder_is_judged_less_than_by_its_own_path(head, parts, at):
    path = head + "/".join(parts)
    start = head + "/".join(parts[:at])
    below = start + ("**" if not start or start.endswith("/") else "/**")
    for judge in (secret_file, plants):
        if judge(path):
            assert judge(below), (path, below)
            # The folder may be the file itself, which then stands among the paths too. A relative one with a name is
            # judged below the home, and not below every folder that a rule's end could mean.
            if at < len(parts) and head in ("/", "~/"):
                assert judge(f"{below}/{parts[-1]}"), (path, f"{below}/{parts[-1]}")


# The real find, over programs that log their words


FILES = ("logs/a.log", "logs/.env", "logs/sub/id_rsa", "logs/b c.txt", "logs/-rf", "logs/x.pem", "logs/;", "logs/+", "logs/{}",
         "logs/sub/.git/config", "src/a.py", "src/conftest.py", "src/sub/b.log", "logs/sub/c.log/d.txt", "logs/new\nline.log")  # fmt: skip
PROGRAMS = ("cat", "head", "wc", "tac", "rm", "ls", "sh", "env", "nice", "touch")


class Finder:
    """The real find on a tree of files, and programs that log their words."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.tree = folder, folder / "bin", folder / "tree"
        self.bin.mkdir()
        shell, real = shutil.which("bash"), shutil.which("find")
        if shell is None or real is None:
            raise RuntimeError("bash and find must be installed")
        self.shell = shell
        (self.bin / "find").symlink_to(real)
        for name in PROGRAMS:
            program = self.bin / name
            program.write_text(f'#!{shell}\nprintf \'%s\\0\' "${{0##*/}}" "$@" $\'\\x01END\' >> "$STUB_LOG"\n')
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        for name in FILES:
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")

    def run(self, line: str) -> list[list[str]]:
        with tempfile.NamedTemporaryFile(dir=self.folder) as log:
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    [self.shell, "-c", line],
                    cwd=self.tree,
                    env={"PATH": str(self.bin), "HOME": str(self.tree), "STUB_LOG": log.name},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=60,
                )
            calls = Path(log.name).read_bytes().decode(errors="surrogateescape").split("\x01END\0")
        return [call.split("\0")[:-1] for call in calls if call]


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    return Finder(tmp_path_factory.mktemp("finder"))


def _covered(path: str, patterns: frozenset[str]) -> bool:
    """Whether a pattern with `**` and `*` covers `path`; written apart from how policies read them."""
    plain = os.path.normpath(path)
    for pattern in patterns:
        text = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"/\*\*", "(?:/.*)?").replace(r"\*\*", ".*")
        if re.fullmatch(text.replace(r"\*", "[^/]*"), plain, re.DOTALL):
            return True
    return False


word = st.sampled_from(["{}", "{}", "{}", "-v", "x", "+", "\\;", "{}x", "'{}'", "a{}", "-", "logs/x"])
command = st.builds(
    lambda name, words, end: " ".join([name, *words, end]),
    st.sampled_from([*PROGRAMS, "{}", "nice cat", "env cat", "sh -c"]),
    st.lists(word, max_size=3),
    st.sampled_from(["{} +", "\\;", "{} \\;", "';'", "+", "", "{} {} +"]),
)
test = st.sampled_from(["-name '*.log'", "-name '*.py'", "-name .env", "-type f", "-name '*'", "-true", "-false", "-print", "-maxdepth 1",
                        "-iname '*.LOG'", "-prune", "-name 'id_[r]sa'", "-path '*sub*'", "-name 'i*'", "-depth"])  # fmt: skip
part = st.one_of(test, test, command.map("-exec {}".format))
piece = st.one_of(part, part, part, st.sampled_from(["-o", "-a", "!", ",", "\\(", "\\)", "-not", "-or"]))
grouped = st.recursive(
    part,
    lambda inner: st.one_of(
        st.builds("{} {}".format, inner, inner),
        st.builds("{} -o {}".format, inner, inner),
        st.builds("{} , {}".format, inner, inner),
        st.builds("! {}".format, inner),
        st.builds("\\( {} \\)".format, inner),
        st.builds("\\( {} -o {} \\) -exec cat {{}} +".format, inner, inner),
    ),
    max_leaves=6,
)
starts = st.lists(
    st.sampled_from(["logs", "./logs", "src", "logs/sub", "~", "logs/", "logs/a.log", "."]), min_size=1, max_size=2
)
lines = st.builds(
    lambda before, folders, expression: " ".join(["find", *before, *folders, expression]),
    st.sampled_from([[], [], ["-H"], ["-P"]]),
    starts,
    st.one_of(grouped, grouped, st.lists(piece, min_size=1, max_size=7).map(" ".join)),
)


@settings(FUZZ, max_examples=EXAMPLES * 3)
@given(text=lines)
@example(text="find logs \\( -name '*.py' -o -prune \\) -exec cat {} +")
@example(text="find logs -name '*.py' -o -name '*.log' , -exec cat {} +")
@example(text="find logs ! ! -name '*.log' -exec cat {} +")
@example(text="find logs/a.log -name '*.log' -exec cat {} \\;")
@example(text="find . -exec cat + {} \\;")
def test_every_file_that_real_find_hands_on_is_among_the_paths(finder, text):
    found = analyse(text)
    if found.action == "unknown":
        return
    patterns = frozenset(found.paths_read | found.paths_written)
    own = {str(path.relative_to(finder.tree)) for path in finder.tree.rglob("*")}
    for name, *words in finder.run(text):
        assert name in found.programs, (text, name)
        for given_word in words:
            path = given_word.replace(str(finder.tree), "~", 1)
            if os.path.normpath(path.removeprefix("~/")) in own:
                assert _covered(path, patterns), (text, name, path, patterns)


def test_the_real_find_is_seen(finder):
    calls = finder.run("find logs -name '*.log' -type f -exec cat -n {} +")
    assert {"cat", "-n", "logs/a.log", "logs/new\nline.log"} <= {word for call in calls for word in call}
    assert not _covered("logs/.env", frozenset({"logs/**/*.log"}))
    assert _covered("logs/a.log", frozenset({"logs/**/*.log"}))
