"""The rules behind files.py: paths that plant code or access, and paths that hold secrets, with why."""

from __future__ import annotations

# Rules: components apart by "/". `~` is any home; `**` any folders; other components are shell patterns. A rule that
# ends in "/" holds for the folder and all that lies below it. What follows the rules is why.
PLANTS: tuple[tuple[str, str], ...] = (
    ("~/.ssh/", "who may log in, and how this account does"),
    ("/etc/ssh/", "how SSH lets in"),
    ("**/authorized_keys*", "who may log in"),
    (
        "~/.bashrc ~/.bash_profile ~/.bash_login ~/.bash_logout ~/.bash_aliases ~/.profile ~/.zshrc ~/.zshenv "
        "~/.zprofile ~/.zlogin ~/.zlogout ~/.kshrc ~/.mkshrc ~/.cshrc ~/.tcshrc ~/.login ~/.logout ~/.inputrc "
        "~/.xprofile ~/.xinitrc ~/.xsession ~/.xsessionrc ~/.Xsession ~/.pam_environment ~/.shrc ~/.ashrc ~/.envrc "
        "**/.envrc ~/.screenrc ~/.tmux.conf ~/.vimrc ~/.exrc ~/.nanorc ~/.emacs ~/.gdbinit ~/.lldbinit ~/.pythonrc "
        "~/.psqlrc ~/.mysqlrc ~/.my.cnf ~/.sqliterc ~/.irbrc ~/.Rprofile **/.Rprofile ~/.octaverc ~/.wgetrc ~/.curlrc "
        "~/.lesskey ~/.lessfilter ~/.mailcap ~/.forward ~/.procmailrc ~/.rhosts ~/.shosts ~/.k5login ~/.ackrc "
        "~/.dircolors ~/.npmrc **/.npmrc ~/.yarnrc* ~/.pypirc ~/.gemrc ~/.netrc ~/.selected_editor ~/.gtkrc*",
        "read by a shell or a program when it starts",
    ),
    (
        "~/.config/ ~/.local/bin/ ~/.local/lib/ ~/.local/share/ ~/bin/ ~/.bashrc.d/ ~/.profile.d/ ~/.vim/ ~/.emacs.d/ "
        "~/.oh-my-zsh/ ~/.zsh/ ~/.cargo/ ~/.rbenv/ ~/.pyenv/ ~/.nvm/ ~/.asdf/ ~/.gnupg/ ~/.kube/ ~/.aws/ ~/.docker/ "
        "~/.azure/ ~/.m2/ ~/.gradle/ ~/.ansible/ ~/.terraform.d/ ~/.git-templates/ ~/.ipython/ ~/.jupyter/ ~/.npm/ "
        "~/.yarn/ ~/.composer/ ~/.gem/ ~/.bundle/ ~/.rustup/ ~/go/bin/ ~/.deno/ ~/.bun/ ~/.claude/ ~/.codex/",
        "holds programs or settings that run code later",
    ),
    ("**/.git/ **/.githooks/ **/.husky/ **/.gitconfig **/.gitmodules **/.gitattributes /etc/gitconfig", "git runs it"),
    # With a HEAD any folder may be a repository, and its `config` names programs that `git status` runs.
    ("**/HEAD", "makes a repository of a folder, whose settings git runs"),
    # A bare repository has no .git folder above its hooks.
    ("**/hooks/*", "git runs hooks"),
    (
        "/etc/cron* /etc/cron.d/ /etc/cron.hourly/ /etc/cron.daily/ /etc/cron.weekly/ /etc/cron.monthly/ "
        "/var/spool/cron/ /var/spool/at/ /var/spool/anacron/ /etc/anacrontab /etc/periodic/",
        "runs on a schedule",
    ),
    (
        "/etc/systemd/ /lib/systemd/ /usr/lib/systemd/ /usr/local/lib/systemd/ /run/systemd/ /usr/share/systemd/ "
        "/etc/init.d/ /etc/init/ /etc/rc* /etc/rc.d/ /etc/rc.local /etc/inittab /etc/runit/ /etc/sv/ /etc/service/ "
        "/etc/s6/ /etc/openrc/ /etc/conf.d/ /etc/default/ /etc/sysconfig/ /etc/supervisor/ /etc/supervisord* "
        "/etc/monit/ /etc/dbus-1/ /usr/share/dbus-1/ /etc/xdg/ /usr/share/applications/ **/*.service **/*.timer "
        "**/*.socket",
        "runs when the system or a service starts",
    ),
    (
        "/etc/profile /etc/profile.d/ /etc/bash* /etc/bash_completion.d/ /etc/zsh* /etc/zsh/ /etc/csh* /etc/ksh* "
        "/etc/environment /etc/environment.d/ /etc/inputrc /etc/skel/ /etc/update-motd.d/ /etc/X11/ /etc/vim/ "
        "/etc/emacs/ /etc/alternatives/ /usr/share/bash-completion/ /usr/share/vim/ /etc/screenrc /etc/tmux.conf",
        "read by every shell or login",
    ),
    (
        "/etc/passwd* /etc/shadow* /etc/group* /etc/gshadow* /etc/subuid* /etc/subgid* /etc/sudoers* /etc/sudoers.d/ "
        "/etc/sudo.conf /etc/doas* /etc/pam* /etc/pam.d/ /etc/security/ /etc/nsswitch.conf /etc/login* /etc/shells "
        "/etc/polkit* /etc/polkit-1/ /usr/share/polkit-1/ /etc/krb5* /etc/ldap* /etc/sssd/ /etc/hosts.equiv "
        "/etc/hosts.allow /etc/hosts.deny /etc/securetty /etc/selinux/ /etc/apparmor* /etc/apparmor.d/ /lib/security/ "
        "/usr/lib/security/",
        "who may do what on the system",
    ),
    ("/etc/ld.so* /etc/ld.so.preload /etc/ld.so.conf.d/ /etc/ld.so.cache", "loaded into every program"),
    (
        "/bin/ /sbin/ /usr/bin/ /usr/sbin/ /usr/local/bin/ /usr/local/sbin/ /usr/games/ /snap/ /usr/libexec/ "
        "/usr/local/ /lib/ /lib32/ /lib64/ /libx32/ /usr/lib/ /usr/lib32/ /usr/lib64/ /usr/libx32/ /usr/share/ "
        "**/bin/* **/sbin/*",
        "programs and libraries that others run",
    ),
    ("/boot/ /efi/ /lib/modules/ /etc/modprobe* /etc/modules* /etc/modules-load.d/ /etc/kernel/ /etc/initramfs-tools/ "
     "/etc/grub* /etc/dracut* /etc/udev/ /etc/binfmt.d/ /etc/sysctl* /etc/sysctl.d/ /etc/crypttab /etc/fstab "
     "/etc/auto* /etc/exports*", "the kernel, its modules and its start"),
    ("/proc/ /sys/", "the kernel's and other processes' state"),
    ("/dev/", "devices, whole disks among them"),
    (
        "/etc/apt/ /etc/yum* /etc/yum.repos.d/ /etc/dnf/ /etc/zypp/ /etc/pacman* /etc/apk/ /etc/dpkg/ /etc/rpm/ "
        "/var/lib/dpkg/ /var/lib/rpm/ /var/lib/apt/ /etc/pip.conf /etc/npmrc /etc/ca-certificates/ "
        "/usr/local/share/ca-certificates/ /etc/ssl/ /etc/pki/ /etc/crypto-policies/ /etc/gnupg/",
        "where packages and trust come from",
    ),
    (
        "**/site-packages/ **/dist-packages/ **/*.pth **/sitecustomize.py **/usercustomize.py **/conftest.py "
        "**/pyvenv.cfg **/node_modules/ **/.venv/ **/venv/ **/Makefile **/makefile **/GNUmakefile **/.pre-commit-config.yaml "
        "**/.vscode/ **/.idea/ **/.vimrc **/.exrc **/.gdbinit **/.htaccess **/.user.ini **/.github/ **/.gitlab-ci.yml "
        "**/.mcp.json **/crontab",
        "run by a tool that works in the folder",
    ),
    (
        "/etc/NetworkManager/ /etc/network/ /etc/dhcp/ /etc/ppp/ /etc/wpa_supplicant/ /etc/openvpn/ /etc/wireguard/ "
        "/etc/logrotate* /etc/logrotate.d/ /etc/rsyslog* /etc/rsyslog.d/ /etc/syslog* /etc/audit/ /etc/audisp/ "
        "/etc/snmp/ /etc/mail/ /etc/aliases* /etc/postfix/ /etc/exim* /etc/nginx/ /etc/apache2/ /etc/httpd/ "
        "/etc/php/ /etc/mysql/ /etc/my.cnf* /etc/postgresql/ /etc/docker/ /etc/containerd/ /etc/kubernetes/ "
        "/etc/cni/ /etc/xinetd* /etc/xinetd.d/ /etc/inetd.conf /etc/mailcap /etc/magic /etc/resolv.conf /etc/hosts "
        "/etc/crypto-policies/ /etc/salt/ /etc/puppet/ /etc/puppetlabs/ /etc/ansible/ /etc/chef/ /etc/consul* "
        "/etc/acpi/ /etc/needrestart/ /etc/fail2ban/ /etc/cloud/ /etc/wgetrc /etc/nanorc /etc/vimrc /etc/gdb/",
        "settings of a service that runs code or guards the system",
    ),
    ("/var/lib/cloud/ /var/lib/docker/ /var/lib/kubelet/ /var/lib/containerd/ /run/docker.sock "
     "/var/run/docker.sock /run/containerd/", "a container host's own"),
    ("/var/log/audit/ /var/log/auth.log* /var/log/secure* /var/log/wtmp* /var/log/btmp* /var/log/lastlog* /run/utmp "
     "/var/run/utmp /var/log/journal/ ~/.bash_history ~/.zsh_history", "an audit trail"),
    ("/etc/", "a setting of the system"),
    ("/ /etc /usr /home /var /lib /bin /sbin /var/spool /var/lib ~", "the folder itself, with all that is in it"),
)  # fmt: skip

SECRETS: tuple[tuple[str, str], ...] = (
    ("~/.ssh/id_* ~/.ssh/*.pem ~/.ssh/*key ~/.ssh/*_rsa ~/.ssh/*_ed25519 ~/.ssh/*_ecdsa ~/.ssh/*_dsa ~/.ssh/identity "
     "**/id_rsa **/id_dsa **/id_ecdsa **/id_ed25519 **/id_ecdsa_sk **/id_ed25519_sk **/id_xmss **/ssh_host_*_key "
     "/etc/ssh/ssh_host_*", "a private SSH key"),
    ("**/*.pem **/*.key **/*.p12 **/*.pfx **/*.jks **/*.keystore **/*.kdbx **/*.ppk **/*.asc **/*.gpg **/*.pgp "
     "**/*.p8 **/*.pk8 **/*.der /etc/ssl/private/ /etc/pki/tls/private/ /etc/letsencrypt/ **/secring* "
     "~/.gnupg/ /etc/wireguard/ /etc/openvpn/ /etc/ipsec.secrets /etc/ppp/*-secrets /etc/krb5.keytab **/*.keytab",
     "a private key"),
    ("/etc/shadow* /etc/gshadow* /etc/security/opasswd* /etc/sudoers* /etc/sudoers.d/ /var/backups/*shadow* "
     "/var/lib/sss/ /etc/sssd/ /etc/ldap.secret /etc/pam_ldap.secret", "password hashes or rights"),
    ("~/.aws/ ~/.azure/ ~/.config/gcloud/ ~/.kube/ ~/.docker/config.json ~/.config/gh/ ~/.config/hub ~/.oci/ "
     "~/.config/doctl/ ~/.terraform.d/ ~/.vault-token ~/.config/rclone/ ~/.s3cfg ~/.boto ~/.config/op/ ~/.fly/ "
     "~/.netlify/ ~/.config/netlify/ ~/.heroku/ ~/.password-store/ ~/.local/share/keyrings/ ~/.config/containers/ "
     "~/.claude/ ~/.codex/ **/*kubeconfig* /etc/kubernetes/ /var/lib/kubelet/ /etc/rancher/ "
     "/run/secrets/ /var/run/secrets/ **/secrets/ **/credentials **/credentials.* **/*credentials*.json "
     "**/service-account*.json **/service_account*.json **/application_default_credentials.json **/.dockercfg "
     "/etc/docker/key.json /etc/salt/pki/ /var/lib/cloud/ /etc/ansible/vault*", "credentials"),
    ("**/.env **/.env.* **/*.env **/.envrc **/.netrc **/_netrc **/.pgpass **/.my.cnf **/.mylogin.cnf **/.npmrc "
     "**/.pypirc **/.git-credentials **/.config/git/credentials **/.htpasswd **/.gem/credentials "
     "**/.cargo/credentials* **/.m2/settings*.xml **/.gradle/gradle.properties **/wp-config.php **/.vault_pass* "
     "**/*.tfstate* **/terraform.tfvars **/*.tfvars **/secrets.y*ml **/secrets.json **/secret.* **/master.key "
     "**/.secret* **/.token* **/.password* **/*.ovpn **/.smbcredentials **/.muttrc **/.msmtprc **/.fetchmailrc "
     "**/.composer/auth.json **/.bash_login_token /etc/environment /etc/mysql/debian.cnf /etc/postgresql-common/*pass*",
     "passwords or tokens"),
    ("**/.*_history **/.*history **/*_history **/.lesshst **/.viminfo", "a history of commands, passwords among them"),
    ("/proc/*/environ /proc/*/mem /proc/*/maps /proc/*/root/ /proc/*/cwd/ /proc/*/fd/ /proc/*/fdinfo/ /proc/*/task/ "
     "/proc/*/map_files/ /proc/*/cmdline /proc/*/auxv /proc/*/stack /proc/kcore /proc/kmem /proc/keys /proc/key-users "
     "/dev/fd/ /proc/vmcore", "another process's memory, environment or files"),
    ("/dev/mem /dev/kmem /dev/port /dev/sd* /dev/vd* /dev/xvd* /dev/nvme* /dev/hd* /dev/dm-* /dev/mapper/ /dev/disk/ "
     "/dev/block/ /dev/md* /dev/loop* /dev/mmcblk* /dev/vcs* /dev/input/ /dev/sr*", "a whole disk or memory"),
)  # fmt: skip
