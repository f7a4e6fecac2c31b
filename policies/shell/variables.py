"""Which variables a command line may set without changing what later commands run."""

from __future__ import annotations

import re

from onrecord.policies.shell.found import Found

_HARMLESS = re.compile(r"(?:LC_[A-Z]+|LANG|LANGUAGE|TZ|NO_COLOR|COLUMNS|LINES|DEBIAN_FRONTEND|[a-z][a-z0-9_]*)")
# Lower case, and yet read by programs, or tied to others in some shells.
_LOADED = re.compile(
    r".*proxy|npm_.*|path|fpath|cdpath|manpath|mailpath|module_path|fignore|psvar|watch|shell|prompt|home|user|term|"
    r"argv|status|cwd|ignoreeof|history|histfile|precmd|preexec|chpwd|periodic|aliases|commands|functions|options|"
    r"pipestatus|galiases|saliases|dis_.*|dirstack|nameddirs|histchars|zsh_.*|jobs_.*|ansible_.*|pip_.*|cargo_.*|git_.*|ld_.*"
)
_CODE = re.compile(
    r"PATH|LD_.*|DYLD_.*|BASH_ENV|ENV|IFS|PS[0-4]|PROMPT_COMMAND|SHELLOPTS|BASHOPTS|BASH_.*|SHELL|HOME|CDPATH|GLOBIGNORE|"
    r"GIT_.*|.*PAGER|PAGER|EDITOR|VISUAL|.*EDITOR|LESS.*|MAN.*|BROWSER|PYTHON.*|PERL.*|RUBY.*|NODE_.*|NPM_.*|JAVA_.*|_JAVA.*|"
    r"JDK_.*|CLASSPATH|LUA_.*|PHP.*|RSYNC_.*|SSH_.*|SUDO_.*|TAR_OPTIONS|GZIP|XZ_.*|GREP_.*|MAKE.*|CC|CXX|LD|AR|"
    r"LOCPATH|NLSPATH|GCONV_PATH|HOSTALIASES|RES_OPTIONS|TMPDIR|TERMINFO.*|TERMCAP|OPENSSL_.*|SSL_.*|CURL_.*|WGETRC|"
    r".*PROXY|KUBECONFIG|DOCKER_.*|AWS_.*|PG.*|MYSQL_.*|XDG_.*|ZDOTDIR|FPATH|MAIL.*|GCC_.*|COMPILER_PATH|PKG_.*|"
    r"SYSTEMD_.*|DBUS_.*|DISPLAY|XAUTHORITY|VIM.*|EXINIT|INPUTRC|OPTIND|POSIXLY_CORRECT"
)


_LOADS = re.compile(r"LC_[A-Z]+|LANG|LANGUAGE|TZ")
# In other character sets than UTF-8 a backslash may be the second byte of a character.
_UTF8 = re.compile(r"|C|POSIX|[A-Za-z0-9_]+\.(?i:utf-?8)(?:@[A-Za-z0-9]+)?")
_LANGUAGES = re.compile(r"[A-Za-z0-9_.@:-]*")
_NUMBER = re.compile(r"[0-9]{1,5}", re.ASCII)  # mksh takes them for arithmetic, in which a subscript may run a command
_ZONE = re.compile(r"(?:[A-Za-z0-9_+-]+/){0,2}[A-Za-z0-9_+:,.-]*")


def judge_variable(found: Found, name: str, value: str = "") -> None:
    """What setting `name` means: nothing, code that runs (admin beside unknown), or something not known.

    `value`: what it is set to, where that is known. Locales and zones with a path load files from there, and a
    character set changes how later code is read.
    """
    if name in {"COLUMNS", "LINES"} and not _NUMBER.fullmatch(value):
        found.unknown(f"sets {name} to what is no plain number")
    plain = {"TZ": _ZONE, "LANGUAGE": _LANGUAGES}.get(name, _UTF8)
    if _LOADS.fullmatch(name) and not plain.fullmatch(value):
        found.unknown(f"sets {name} to what is no plain value: give a UTF-8 locale")
    if _CODE.fullmatch(name):
        found.judge("admin", f"sets {name}, which chooses what later commands run or read")
        found.unknown(f"sets {name}")
    elif not _HARMLESS.fullmatch(name) or _LOADED.fullmatch(name):
        found.unknown(f"sets the variable {name[:60]}")
