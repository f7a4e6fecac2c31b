"""What the gateway speaks on either side: nothing with SHA-1, CBC, RC4, DSA, 64-bit blocks or compression.

AES-GCM comes first, for its speed. The listener does not offer ChaCha20: clients would choose it, and in Python it
costs several times what AES-GCM does in hardware. Towards hosts it is there as a last resort.
"""

from __future__ import annotations

KEX = (
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "curve448-sha512",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
)
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
CIPHERS_OUT = (*CIPHERS, "chacha20-poly1305@openssh.com")
MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")
MACS_OUT = (*MACS, "hmac-sha2-256", "hmac-sha2-512")
SIGNATURES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-256",
    "rsa-sha2-512",
)
NO_COMPRESSION = ("none",)
REKEY_BYTES = 1 << 30
REKEY_SECONDS = 3600
