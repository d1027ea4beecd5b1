"""A self-signed certificate for ImageKit's upload host, so that unmodified SDKs can be sent to our port.

Their upload address is hard-coded to https. The browser is told to resolve the host to the loopback, and
must be told to accept the certificate too; clients in Python trust the file instead and so do check it.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

UPLOAD_HOST: Final = "upload.imagekit.io"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where the two PEM files are."""

    certificate_path: Path
    key_path: Path


def make_certificate(directory: Path) -> Certificate:
    """Write a certificate for the upload host, `localhost` and 127.0.0.1 into `directory`, good for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, UPLOAD_HOST)])
    now = dt.datetime.now(dt.UTC)
    alternatives = x509.SubjectAlternativeName(
        [
            x509.DNSName(UPLOAD_HOST),
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(directory / "tls.crt", directory / "tls.key")
    made.certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key_path.touch(mode=0o600)
    made.key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made
