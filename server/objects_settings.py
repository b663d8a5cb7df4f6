"""Settings of where objects lie: received instances, results, and what one step leaves for the next."""

from __future__ import annotations

from dataclasses import dataclass

from server.errors import SettingInvalid
from server.setting import SettingsPart, setting


@dataclass(frozen=True)
class ObjectsSettings(SettingsPart):
    objects: str = setting(
        "",
        "OBJECTS",
        "Where objects lie: s3://bucket/prefix, or file:///folder that all nodes mount; empty = in the data folder.",
    )
    objects_endpoint: str = setting(
        "", "OBJECTS_ENDPOINT", "https://host of an S3 store that is not Amazon's; empty = Amazon's."
    )
    objects_region: str = setting("", "OBJECTS_REGION", "Region of the bucket; empty = as AWS_REGION says.")
    objects_authorities: str = setting(
        "",
        "OBJECTS_AUTHORITIES",
        "PEM file: who may have signed the store's certificate; empty = the system's.",
    )
    objects_cache_mib: int = setting(
        20480, "OBJECTS_CACHE_MIB", "MiB of this node's data folder for copies of objects that lie elsewhere."
    )

    def check(self) -> None:
        if not 16 <= self.objects_cache_mib <= 1 << 30:
            raise SettingInvalid("objects_cache_mib", str(self.objects_cache_mib), "16 MiB or more")
