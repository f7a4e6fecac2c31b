"""Programs that administer the system, its users, services and containers."""

from onrecord.policies.shell.options import Program

ROWS = (
    Program("useradd userdel usermod adduser deluser addgroup delgroup groupadd groupdel groupmod passwd chpasswd chage "
            "gpasswd newgrp sg vipw vigr visudo pwconv pwunconv chsh chfn newusers faillock pam-auth-update authconfig "
            "newuidmap newgidmap", special="opaque", action="admin", why="changes users or their rights"),
    Program("mount umount losetup swapon swapoff mkfs mke2fs mkswap fdisk sfdisk gdisk parted partprobe wipefs blkdiscard "
            "cryptsetup lvm pvcreate vgcreate lvcreate lvremove vgremove pvremove mdadm dmsetup resize2fs tune2fs debugfs "
            "fsck xfs_repair btrfs zfs zpool hdparm mkfs.ext4 mkfs.xfs mkfs.btrfs badblocks", special="opaque", action="admin",
            why="changes disks or mounts"),
    Program("reboot shutdown halt poweroff init telinit kexec", special="opaque", action="admin", why="stops the system"),
    Program("insmod rmmod modprobe depmod sysctl update-grub grub-install update-initramfs dracut bpftool setenforce "
            "semanage aa-disable aa-complain", special="opaque", action="admin", why="changes the kernel"),
    Program("systemctl service initctl rc-service rc-update update-rc.d chkconfig sv supervisorctl monit launchctl "
            "loginctl machinectl timedatectl hostnamectl localectl resolvectl", special="service"),
    Program("kill pkill killall skill", "", special="signal", action="write"),
    Program("renice", "-n: -p: -g: -u:", "data*", action="write"),
    Program("docker podman nerdctl ctr crictl lxc lxd lxc-attach docker-compose buildah runc", special="container"),
    Program("kubectl oc helm k3s k9s minikube kind", special="container"),
    Program("update-alternatives ldconfig hwclock auditctl augenrules ausearch logrotate rsyslogd dbus-send busctl "
            "gdbus cloud-init needrestart chcpu rtcwake wall write mesg openvt setterm loadkeys", special="opaque",
            action="admin", why="administers the system"),
    Program("aws gcloud az doctl oci ibmcloud vault consul nomad heroku flyctl gh glab op", special="opaque", action="unknown",
            why="acts on other systems"),
    Program("top htop atop iotop glances", "", special="monitor"),
    Program("mail sendmail mailx mutt exim postfix", special="opaque", action="unknown", why="sends messages and may run code"),
    Program("clear tput reset stty", "", "data*", action="unknown"),
)  # fmt: skip
