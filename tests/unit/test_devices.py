"""Which device and number format a stage takes, and the reason that it records."""

from __future__ import annotations

import pytest

from matinee.models.devices import Placement, Precision, describe_build, place
from matinee.runtime.errors import EngineError


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    import torch

    def pretend(cuda: bool, bf16: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)

    return pretend


def test_without_a_gpu_auto_is_fp32(hardware) -> None:  # type: ignore[no-untyped-def]
    hardware(cuda=False)
    chosen = place("auto")
    assert (chosen.device, chosen.precision) == ("cpu", "fp32")
    assert "no CUDA device" in chosen.reason


def test_fp16_without_a_gpu_is_refused_with_a_way_out(hardware) -> None:  # type: ignore[no-untyped-def]
    hardware(cuda=False)
    with pytest.raises(EngineError, match=r"fp16 needs a CUDA device; use auto, fp32 or bf16"):
        place("fp16")


@pytest.mark.parametrize(("instructions", "expected"), [(True, "bf16"), (False, "fp32")])
def test_bf16_on_a_cpu_is_taken_where_it_has_instructions_for_it(  # type: ignore[no-untyped-def]
    hardware, monkeypatch: pytest.MonkeyPatch, instructions: bool, expected: Precision
) -> None:
    import torch

    hardware(cuda=False)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    chosen = place("bf16")
    assert (chosen.device, chosen.precision) == ("cpu", expected)
    assert instructions or "no instructions for bf16" in chosen.reason


@pytest.mark.parametrize(("bf16", "expected"), [(True, "bf16"), (False, "fp16")])
def test_auto_on_a_gpu_takes_what_it_computes_natively(  # type: ignore[no-untyped-def]
    hardware, bf16: bool, expected: Precision
) -> None:
    hardware(cuda=True, bf16=bf16)
    chosen = place("auto")
    assert (chosen.device, chosen.precision) == ("cuda", expected)
    assert "native" in chosen.reason


@pytest.mark.parametrize("asked", ["fp32", "bf16", "fp16"])
def test_what_is_asked_for_is_taken(hardware, asked: Precision) -> None:  # type: ignore[no-untyped-def]
    hardware(cuda=True)
    assert place(asked) == Placement("cuda", asked, "asked for")


@pytest.mark.parametrize(
    ("precision", "name"), [("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")]
)
def test_a_precision_is_a_torch_type(precision: Precision, name: str) -> None:
    assert str(Placement("cpu", precision, "").dtype) == f"torch.{name}"


class TestTheBuildOfTorch:
    @pytest.fixture
    def build(self, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
        import torch

        from matinee.runtime import leases

        monkeypatch.setattr(leases, "_machine", list)
        monkeypatch.delenv("MATINEE_CPU", raising=False)

        def pretend(cuda: str | None, hip: str | None, given: str) -> None:
            monkeypatch.setattr(torch.version, "cuda", cuda)
            monkeypatch.setattr(torch.version, "hip", hip)
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)

        return pretend

    @pytest.mark.parametrize(
        ("cuda", "hip", "expected"),
        [("12.8", None, "CUDA 12.8"), (None, "6.4", "ROCm 6.4"), (None, None, "a CPU build")],
    )
    def test_is_named(  # type: ignore[no-untyped-def]
        self, build, cuda: str | None, hip: str | None, expected: str
    ) -> None:
        build(cuda, hip, given="")
        assert expected in describe_build()

    def test_for_the_cpu_refuses_a_job_that_was_given_a_gpu(self, build) -> None:  # type: ignore[no-untyped-def]
        build(None, None, given="0")
        with pytest.raises(EngineError, match=r"given a GPU \(0\), but torch .* a CPU build"):
            describe_build()

    def test_for_the_cpu_may_be_meant(self, build, monkeypatch) -> None:  # type: ignore[no-untyped-def]
        build(None, None, given="0")
        monkeypatch.setenv("MATINEE_CPU", "1")
        assert "a CPU build" in describe_build()
