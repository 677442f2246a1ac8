"""What the app serves, where, and to whom: the one object behind the command line and `create_app`."""

import ipaddress
import re
import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SHORTEST_TOKEN = 8
BUNDLED = {"vit": "bundled:vit_cue_conflict", "cnn": "bundled:convnet_cue_conflict"}


class Limits(BaseModel):
    """How much the app takes on; what is above gets a clear refusal instead of a slow machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int = Field(default=20_000_000, ge=1000, description="size of an uploaded file")
    pixels: int = Field(default=50_000_000, ge=64, description="width times height of an uploaded image")
    seconds: float = Field(
        default=60.0, gt=0, description="a request may wait and compute, and an attack may run"
    )
    waiting: int = Field(default=128, ge=1, description="requests that may wait for the models")
    images: int = Field(default=32, ge=1, description="images kept for each visitor, oldest out")
    memory: int = Field(default=512_000_000, ge=1_000_000, description="bytes kept for all visitors together")
    idle: float = Field(default=7200.0, gt=0, description="seconds until what nobody asks for is forgotten")
    decoders: int = Field(default=2, ge=1, description="processes that decode images")
    side: int = Field(
        default=512, ge=32, description="longest side, in pixels, of an image that is kept without a model"
    )


class AppConfig(BaseModel):
    """What to serve and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Path | None = Field(default=None, description="the folder of a finished dig, whose images are shown")
    vit: str | None = Field(
        default=None,
        description="the transformer, e.g. timm:vit_base_patch16_224; none for no transformer; None takes the run's",
    )
    cnn: str | None = Field(default=None, description="the CNN, e.g. torchvision:resnet50; none for no CNN")
    host: str = Field(default="127.0.0.1", description="address to listen at; 0.0.0.0 for all")
    port: int = Field(default=8000, ge=0, le=65535, description="0 takes a free one")
    base_path: str = Field(
        default="", description="path in front of all others, behind a proxy, e.g. /explorer"
    )
    token: str | None = Field(
        default=None,
        description="what visitors must show; auto makes one up; none asks for none; "
        "None is auto where others can reach the app, else none",
    )
    allow_host: tuple[str, ...] = Field(
        default=(), description="further names that visitors may call this machine by, e.g. hub.example.org"
    )
    frame_ancestors: tuple[str, ...] = Field(
        default=(),
        description="who may show the app in a frame, e.g. https://hub.example.org; nobody if none",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")
    threads: int | None = Field(default=None, ge=1, description="CPU threads; None leaves PyTorch's choice")
    limits: Limits = Limits()

    @field_validator("base_path")
    @classmethod
    def _plain_path(cls, path: str) -> str:
        plain = "/" + path.strip("/") if path.strip("/") else ""
        if not re.fullmatch(r"(/[A-Za-z0-9._~@-]+)*", plain) or {".", ".."} & set(plain.split("/")):
            raise ValueError("it must be a plain path such as /explorer")
        return plain

    @field_validator("token")
    @classmethod
    def _long_token(cls, token: str | None) -> str | None:
        if token in (None, "auto", "none"):
            return token
        if len(token) < SHORTEST_TOKEN or not re.fullmatch(r"[A-Za-z0-9._~-]+", token):
            raise ValueError(
                f"it must be auto, none, or at least {SHORTEST_TOKEN} letters, digits or . _ ~ -, so that it fits "
                "into an address"
            )
        return token

    @field_validator("frame_ancestors")
    @classmethod
    def _plain_sources(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for source in sources:
            if not re.fullmatch(r"'self'|https?://[A-Za-z0-9.*-]+(:[0-9*]+)?", source):
                raise ValueError(
                    "each must be 'self' (with its quotes) or an origin such as https://hub.example.org"
                )
        return sources

    @field_validator("allow_host")
    @classmethod
    def _plain_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not re.fullmatch(r"[A-Za-z0-9.-]+|[0-9a-fA-F:]+", host):
                raise ValueError("each must be a name such as hub.example.org, without https:// and port")
        return tuple(host.lower() for host in hosts)

    @model_validator(mode="after")
    def _something_to_show(self) -> "AppConfig":
        if self.run is None and self.vit == "none" and self.cnn == "none":
            raise ValueError("there must be something to show: a RUN, --vit or --cnn")
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the app."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def hosts(self) -> frozenset[str] | None:
        """Names that a request may call this machine by; None for any, where it listens to all addresses."""
        if self.host in ("0.0.0.0", "::", "") and not self.allow_host:
            return None
        return frozenset((*LOOPBACK, self.host.lower(), *self.allow_host))

    def with_token(self) -> "AppConfig":
        """The same with `token` a real one, or None where none is asked for."""
        chosen = self.token or ("none" if self.is_local else "auto")
        made = {"none": None, "auto": secrets.token_urlsafe(24)}
        return self.model_copy(update={"token": made.get(chosen, chosen)})
