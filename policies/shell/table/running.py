"""Programs that run others, and interpreters."""

from onrecord.policies.shell.options import Program

ROWS = (
    Program("find", special="find"),
    Program("sh bash dash ash ksh mksh zsh fish csh tcsh rbash yash", "-c -exuvfnilsaCbhm -o: -O:=unknown --login --norc "
            "--noprofile --posix --version --help", special="shell"),
    Program("env", "-i0v -u:unknown -C:unknown -S:unknown --ignore-environment --unset:unknown --null --chdir:unknown "
            "--split-string:unknown --debug", special="env"),
    Program("command", "-vVp", special="wrap"),
    Program("builtin exec", "-cl -a:unknown", special="wrap"),
    Program("nohup", "--help --version", special="wrap"),
    Program("nice", "-n: -0123456789 --adjustment:", special="wrap"),
    Program("ionice", "-t -c: -n:", special="wrap"),
    Program("timeout", "-vkfs -k: -s: --foreground --preserve-status --kill-after: --signal: --verbose", "data",
            special="wrap"),
    Program("stdbuf", "-i: -o: -e: --input: --output: --error:", special="wrap"),
    Program("setsid", "-cfw --ctty --fork --wait", special="wrap"),
    Program("time", "-pv -o:write -f: --portability --format: --output:write -a", special="wrap"),
    Program("chronic ts unbuffer", "-pve", special="wrap", action="unknown"),
    Program("taskset", "-a -c:", "data", special="wrap", action="unknown"),
    Program("chrt", "-bfiopr", "data", special="wrap", action="unknown"),
    Program("busybox toybox", "", special="wrap"),
    Program("sudo", "-AbEHKknPSsiVvl -u: -g: -h: -p: -C: -r: -t: -U: -T: --user: --group: --preserve-env? --login --shell "
            "--non-interactive --stdin --reset-timestamp --set-home", special="wrap", action="admin",
            why="runs as another user"),
    Program("doas", "-ns -u: -C:unknown", special="wrap", action="admin", why="runs as another user"),
    Program("su runuser", "-lmpP -c: -s:unknown -g: -G: -u: --command: --login --shell:unknown --preserve-environment",
            special="su", action="admin", why="runs as another user"),
    Program("pkexec", "--user:", special="wrap", action="admin", why="runs as another user"),
    Program("setpriv capsh start-stop-daemon", "", special="wrap", action="admin", why="changes rights"),
    Program("chroot", "--userspec: --groups: --skip-chdir", "data", special="wrap", action="admin",
            why="leaves the system's confines"),
    Program("nsenter unshare", "-aCimnpruUfF -t: -S: -G: -w? --target: --mount? --root? --pid? --net? --ipc? --uts? "
            "--user? --userspec: --groups: --fork", special="wrap", action="admin", why="leaves the system's confines"),
    Program("systemd-run systemd-inhibit", "-Gpt -u: -p: --scope --user --unit: --property: --wait --pipe --quiet",
            special="wrap", action="admin", why="runs under the service manager"),
    Program("flock", "-enoFsuvx -w: -E: -c:code --exclusive --nonblock --shared --timeout: --unlock", "write",
            special="wrap", action="unknown"),
    Program("script", "-aefq -c:code --command:code -O:write -I:write -B:write --append --quiet --return --flush", "write",
            action="unknown", why="opens a shell"),
    Program("scriptreplay logsave", special="opaque", action="unknown"),
    Program("strace ltrace", "-cfFhiqrtTvwy -e: -o:write -p: -s: -u: -E:unknown", special="wrap", action="unknown"),
    Program("gdb valgrind perf bpftrace rr lldb", "", special="interpreter", action="admin", why="runs code in processes"),
    Program("watch", "-bcdegtpxr -n: --interval: --differences? --no-title", "code*", action="unknown"),
    Program("xargs", "-0prtxo -a:read -d: -E: -I: -L: -n: -P: -s: --null --no-run-if-empty --arg-file:read --delimiter: "
            "--max-args: --max-procs: --replace? --max-lines? --verbose", special="xargs"),
    Program("parallel", "-0k -j: --jobs: --keep-order --null", special="xargs"),
    Program("entr", "", special="wrap", action="unknown"),
    Program("run-parts", special="opaque", action="unknown", why="runs a folder of programs"),
    Program("at batch", "-f:read -q: -t:", "data*", action="admin", why="runs code later"),
    Program("crontab", "-elri -u:", "read", action="admin", why="runs code later"),
    Program("python python2 python3 pypy pypy3 perl ruby node nodejs deno bun php lua luajit tclsh wish expect R Rscript "
            "julia java javac scala kotlin groovy jjs jrunscript guile racket sbcl clisp ghc runghc ocaml erl elixir iex "
            "irb pry octave gawk-ext ipython jupyter pwsh swift go cargo rustc gcc g++ cc c++ clang ld as dc bc "
            "vi vim vimdiff view nvim ex rvim rview nano pico ed red emacs emacsclient joe jed mcedit micro sqlite3 "
            "less more most man info pg screen tmux byobu zsoelim troff nroff groff cmake make gmake ninja ant mvn gradle "
            "rake scons bundle composer pry3 uv uvx pipx poetry tox pytest ansible ansible-playbook ansible-galaxy "
            "puppet chef-client salt salt-call terraform tofu packer vagrant",
            special="interpreter"),
)  # fmt: skip
