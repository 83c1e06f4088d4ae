"""Certificates of an authority that exists for one test."""

import subprocess
from pathlib import Path


class Authority:
    """Signs certificates for as long as a test runs."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._openssl("req", "-x509", "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.certificate)

    def sign(self, name: str) -> tuple[Path, Path]:
        """Return a certificate for this machine, and its key."""
        certificate, key, request = (self._folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        names = self._folder / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self._openssl("req", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        command = ("openssl", "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key)
        command += ("-CAcreateserial", "-extfile", names, "-out", certificate)
        subprocess.run(command, check=True, capture_output=True)
        return certificate, key

    @staticmethod
    def _openssl(*arguments: object) -> None:
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        subprocess.run(("openssl", *map(str, (*arguments, *kind))), check=True, capture_output=True)
