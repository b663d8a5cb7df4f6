"""Settings of what is received over DICOM."""

from __future__ import annotations

from dataclasses import dataclass

from server.errors import SettingInvalid
from server.setting import SettingsPart, setting


@dataclass(frozen=True)
class DicomSettings(SettingsPart):
    dicom_host: str = setting(
        "127.0.0.1", "DICOM_HOST", "Address the DICOM port listens on; 0.0.0.0 opens it to the network."
    )
    dicom_port: int = setting(
        11112, "DICOM_PORT", "TCP port for DICOM: echo, store, storage commitment, procedure steps."
    )
    dicom_plain: bool = setting(
        True, "DICOM_PLAIN", "false closes the plain DICOM port: everything comes by TLS."
    )
    dicom_tls_port: int = setting(
        2762, "DICOM_TLS_PORT", "TCP port for DICOM over TLS; it opens when a certificate is given."
    )
    dicom_tls_certificate: str = setting(
        "", "DICOM_TLS_CERTIFICATE", "PEM file: our certificate and the intermediate ones; empty = no TLS."
    )
    dicom_tls_key: str = setting(
        "",
        "DICOM_TLS_KEY",
        "PEM file: the key without a password; empty = it lies in the certificate's file.",
    )
    dicom_tls_authorities: str = setting(
        "", "DICOM_TLS_AUTHORITIES", "PEM file: who may have signed the certificates of peers."
    )
    dicom_tls_client_certificate: str = setting(
        "none",
        "DICOM_TLS_CLIENT_CERTIFICATE",
        "none, optional or required: whether peers must prove themselves by a certificate.",
    )
    dicom_tls_profile: str = setting(
        "bcp195", "DICOM_TLS_PROFILE", "bcp195, or bcp195-extended for peers that know only DHE suites."
    )
    called_ae_title: str = setting(
        "RADMETER", "AE_TITLE", "AE title of the first tenant, made at the first start."
    )
    instance_bytes_max: int = setting(
        2 << 30,
        "INSTANCE_BYTES_MAX",
        "Largest instance that is received, in bytes; a larger one aborts the association.",
    )
    receiver_processes: int = setting(
        0, "RECEIVER_PROCESSES", "Processes that receive over DICOM; 0 = one for each core."
    )
    associations_max: int = setting(64, "ASSOCIATIONS_MAX", "Associations open at a time, over all senders.")
    associations_per_host_max: int = setting(
        16, "ASSOCIATIONS_PER_HOST_MAX", "Associations open at a time from one address."
    )

    def check(self) -> None:
        for name in ("dicom_port", "dicom_tls_port"):
            if not 1 <= getattr(self, name) <= 65535:
                raise SettingInvalid(name, str(getattr(self, name)), "a port is 1 to 65535")
        if not 0 <= self.receiver_processes <= 256:
            raise SettingInvalid("receiver_processes", str(self.receiver_processes), "0 to 256")
        wanted = self.dicom_tls_client_certificate
        if wanted not in ("none", "optional", "required"):
            raise SettingInvalid("dicom_tls_client_certificate", wanted, "none, optional or required")
        if self.dicom_tls_profile not in ("bcp195", "bcp195-extended"):
            raise SettingInvalid("dicom_tls_profile", self.dicom_tls_profile, "bcp195 or bcp195-extended")
        if wanted != "none" and self.dicom_tls_certificate and not self.dicom_tls_authorities:
            raise SettingInvalid("dicom_tls_authorities", "", f"needed for client certificates ({wanted})")
        if wanted != "none" and not self.dicom_tls_certificate:
            raise SettingInvalid(
                "dicom_tls_client_certificate",
                wanted,
                "without dicom_tls_certificate nobody is asked for one",
            )
        if not self.dicom_plain and not self.dicom_tls_certificate:
            raise SettingInvalid(
                "dicom_plain", "false", "without a TLS certificate no DICOM port would be open"
            )
