"""Package managers: what they install runs code."""

from onrecord.policies.shell.options import Program

_NAMES = "apt apt-get apt-cache apt-key apt-mark aptitude dpkg dpkg-reconfigure add-apt-repository yum dnf microdnf rpm rpm-ostree zypper pacman yay apk emerge snap flatpak brew nix nix-env nix-shell guix pip pip2 pip3 easy_install conda mamba npm npx yarn pnpm pnpx corepack gem cpan cpanm pear pecl luarocks cabal stack opam dotnet nuget bower alien eopkg xbps-install swupd pkg pkgadd port"

MANAGERS = frozenset(_NAMES.split())

ROWS = (Program(_NAMES, special="package"),)
