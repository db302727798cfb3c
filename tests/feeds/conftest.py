"""Fixtures of the socket tests: TLS of our own, a watch over leaked sockets, short waits."""

import datetime
import gc
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from marketdata.feeds import ingestor, shared_connection, supervisor


@pytest.fixture
def no_leaks():
    """Make sockets nobody closed warn now; warnings are errors."""
    yield
    gc.collect()


@pytest.fixture
def short_waits(monkeypatch, no_leaks):
    """Make a shared connection look around, and come back, within hundredths of a second."""
    monkeypatch.setattr(shared_connection, "BACKOFF_S", 0.02)
    monkeypatch.setattr(ingestor, "POLL_S", 0.02)
    monkeypatch.setattr(supervisor, "TICK_S", 0.02)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Return a folder with a certificate of localhost that signs itself."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


@pytest.fixture
def certificate(authority):
    """Return the server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "cert.pem", authority / "key.pem")
    return context


@pytest.fixture
def trusted(authority, monkeypatch):
    """Make the client trust that certificate."""
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", str(authority / "cert.pem"))
