"""One certificate by which the parts of a server know each other."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orchestration.services.files import write_private

# It is trusted by nobody but the server itself and never leaves this machine, so there is nobody to renew it
# for.
_VALID = timedelta(days=100 * 365)


def ensure_certificate(folder: Path) -> tuple[Path, Path]:
    """Give the paths of certificate and key (PEM, mode 0600); make them at the first call.

    The certificate is its own authority: who trusts it accepts the holder of this key and nobody else.
    """
    certificate_file, key_file = folder / "certificate.pem", folder / "certificate-key.pem"
    if not certificate_file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(key_file, private.decode())
        public = _self_signed(key).public_bytes(serialization.Encoding.PEM)
        write_private(certificate_file, public.decode())
    return certificate_file, key_file


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "casetrail")])
    now = datetime.now(UTC)
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A clock that is set back a little must not invalidate it.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .sign(key, hashes.SHA256())
    )
