import ssl
import stat

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from onrecord.scripts.parts.certs import Authority


def test_a_certificate_names_hosts_and_addresses(tmp_path):
    pair = Authority(tmp_path).issue("billing.internal", "127.0.0.1")
    certificate = x509.load_pem_x509_certificate(pair.cert.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["billing.internal"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes()))


def test_keys_are_for_their_owner_only(tmp_path):
    pair = Authority(tmp_path).issue("a.internal", client=True)
    assert stat.S_IMODE(pair.key.stat().st_mode) == 0o600


def test_two_authorities_do_not_trust_each_other(tmp_path):
    pair = Authority(tmp_path / "one").issue("a.internal")
    other = Authority(tmp_path / "two")
    certificate = x509.load_pem_x509_certificate(pair.cert.read_bytes())
    with pytest.raises(InvalidSignature):
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(other.cert.read_bytes()))
    ssl.create_default_context(cafile=str(other.cert))
