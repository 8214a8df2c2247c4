"""The readers by the name that the configuration uses."""

from matinee.data.readers import (
    alpaca,
    glaive_v2,
    hermes_v1,
    oasst,
    openai,
    sharegpt,
    toolace,
    xlam,
)
from matinee.data.readers.base import Reader

READERS: dict[str, Reader] = {
    "sharegpt": sharegpt.READER,
    "glaive_v2": glaive_v2.READER,
    "xlam": xlam.READER,
    "hermes_v1": hermes_v1.READER,
    "toolace": toolace.READER,
    "openai": openai.READER,
    "alpaca": alpaca.READER,
    "oasst": oasst.READER,
}
