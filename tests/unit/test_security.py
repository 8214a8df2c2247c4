"""Attacks, tried: what comes from outside must not run, not leave its folder, not show a secret."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from loopback import Hub, serving
from tiny import save
from trainee import start

from matinee.config import HubSource, Model, PackageSource, PathSource, UrlSource
from matinee.data.sources import fetch_dataset, fetch_model, packages, urls
from matinee.data.sources.selection import select
from matinee.messages.documents import open_document
from matinee.runtime.errors import SourceError, UserError

RUN = Path(__file__).parents[2] / "workflow/run.py"
SECRET = "hf_ThisIsASecretThatMustNotBeShown"


class Attack:
    """Unpickled, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.target}",))


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MATINEE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def of_path(folder: Path) -> Model:
    return Model(id="mine", sources=[PathSource(kind="path", path=folder)])


def whole(folder: Path) -> Path:
    """A model with what every model has."""
    save(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


class TestCode:
    def test_a_pickle_beside_the_weights_stays_behind(self, tmp_path: Path) -> None:
        mine = whole(tmp_path / "mine")
        for name in ("pytorch_model.bin", "training_args.bin", "extra.pkl"):
            (mine / name).write_bytes(pickle.dumps(Attack(tmp_path / "ran")))
        fetch_model(of_path(mine), tmp_path / "out", offline=True, root=tmp_path)
        names = {path.name for path in (tmp_path / "out").iterdir()}
        assert not {name for name in names if name.endswith((".bin", ".pkl"))}
        assert "model.safetensors" in names

    def test_a_model_that_is_only_a_pickle_is_refused_unopened(self, tmp_path: Path) -> None:
        mine = save(tmp_path / "mine")
        (mine / "model.safetensors").unlink()
        (mine / "pytorch_model.bin").write_bytes(pickle.dumps(Attack(tmp_path / "ran")))
        with pytest.raises(SourceError, match="can run code when opened"):
            fetch_model(of_path(mine), tmp_path / "out", offline=True, root=tmp_path)
        assert not (tmp_path / "ran").exists()

    def test_code_that_comes_with_a_model_does_not_run(self, tmp_path: Path) -> None:
        from matinee.models.devices import place
        from matinee.models.loading import load_model

        mine = save(tmp_path / "mine")
        (mine / "modeling_mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
        values = json.loads((mine / "config.json").read_text())
        values["model_type"] = "mine"
        values["auto_map"] = {
            "AutoConfig": "modeling_mine.Config",
            "AutoModelForCausalLM": "modeling_mine.Model",
        }
        (mine / "config.json").write_text(json.dumps(values))
        with pytest.raises(UserError, match="Code that comes with a model is not run"):
            load_model(mine, place("fp32"))
        assert not (tmp_path / "ran").exists()

    def test_a_checkpoint_is_not_unpickled_into_code(self, tmp_path: Path) -> None:
        """Whoever can write to the results folder must not thereby run code in the training."""
        from tiny import training

        from matinee.training.checkpoints import mark_complete

        save(tmp_path / "model")
        (tmp_path / "output").mkdir()
        settings = training(epochs=1.0, save_steps=1)
        checkpoint = tmp_path / "checkpoints/checkpoint-1"
        process = start(tmp_path, settings)
        while not (checkpoint / "complete").exists() and process.is_alive():
            process.join(0.005)
        process.kill()
        process.join()
        if not checkpoint.exists():
            pytest.skip("the training was over before it could be stopped")
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
            (checkpoint / name).write_bytes(pickle.dumps(Attack(tmp_path / "ran")))
        mark_complete(checkpoint)
        again = start(tmp_path, settings)
        again.join()
        assert not (tmp_path / "ran").exists()


class TestLinks:
    def test_a_link_in_a_model_folder_to_a_private_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "id_rsa").write_text("private")
        mine = whole(tmp_path / "mine")
        (mine / "LICENSE-x").symlink_to(tmp_path / "id_rsa")
        with pytest.raises(SourceError, match=r"LICENSE-x is a link that leads out of the folder"):
            fetch_model(of_path(mine), tmp_path / "out", offline=True, root=tmp_path)
        assert not list((tmp_path / "out").iterdir())

    @pytest.mark.parametrize("target", ["..", "../snapshots", "../../refs"])
    def test_neither_does_one_out_of_a_hubs_cache_pass(self, target: str, tmp_path: Path) -> None:
        snapshot = tmp_path / "models--a--b/snapshots/0123"
        snapshot.parent.mkdir(parents=True)
        whole(snapshot)
        private = snapshot / target / "private"
        private.parent.mkdir(exist_ok=True)
        private.write_text("private")
        (snapshot / "LICENSE-x").symlink_to(private)
        with pytest.raises(SourceError, match="leads out of the folder"):
            fetch_model(of_path(snapshot), tmp_path / "out", offline=True, root=tmp_path)

    def test_a_hubs_links_to_its_blobs_and_links_inside_are_followed(self, tmp_path: Path) -> None:
        blobs, snapshot = tmp_path / "m/blobs", tmp_path / "m/snapshots/0123"
        snapshot.mkdir(parents=True)
        for file in whole(blobs).iterdir():
            (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
        (snapshot / "LICENSE").symlink_to("config.json")
        fetch_model(of_path(snapshot), tmp_path / "out", offline=True, root=tmp_path)
        fetched = list((tmp_path / "out").iterdir())
        assert {file.name for file in fetched} >= {"config.json", "LICENSE"}
        assert not any(file.is_symlink() for file in fetched)


class TestPaths:
    @pytest.mark.parametrize(
        "name", ["../outside.json", "/etc/outside.json", "a/../../outside.json", "a\\..\\b.json"]
    )
    def test_a_listing_cannot_name_a_file_outside(self, name: str) -> None:
        source = HubSource(kind="hf", repo="a/b", revision="main", files=["*.json"])
        with pytest.raises(SourceError, match="outside of the repository"):
            select(["rows.json", name], source, "dataset")

    def test_a_hub_that_lists_such_a_file_writes_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub = Hub(files={"../../outside.json": b"[]", "rows.json": b"[]"})
        with serving(hub):
            monkeypatch.setenv("HF_ENDPOINT", hub.address)
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
            source = HubSource(kind="hf", repo="a/b", revision="main", files=["*.json"])
            with pytest.raises(SourceError, match="outside of the repository"):
                fetch_dataset([source], tmp_path / "a/b/out", offline=False, root=tmp_path)
        assert not list(tmp_path.rglob("outside.json"))

    def test_a_wheel_cannot_write_outside_of_its_folder(self, tmp_path: Path) -> None:
        wheel = tmp_path / "rows-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("../../outside.json", b"[]")
            archive.writestr("rows/../../outside.json", b"[]")
        with (tmp_path / "whole").open("wb") as whole:
            packages._append(wheel, "../../outside.json", whole)
        assert (tmp_path / "whole").read_bytes() == b"[]"
        assert not list(tmp_path.rglob("outside.json"))

    @pytest.mark.parametrize("inside", ["rows/..", "..", "../../../evil.json"])
    def test_a_name_inside_a_wheel_names_no_folder_here(self, inside: str, cache: Path) -> None:
        source = PackageSource(
            kind="package", packages=["a==1"], files=[inside], sha256="0" * 64, licence=""
        )
        assert packages.kept(source).parent == cache / "packages" / ("0" * 64)
        assert packages.kept(source).name in ("data", "evil.json")

    @pytest.mark.parametrize("path", ["/..", "/%2e%2e", "/a/%2e%2e%2fevil.json", "/"])
    def test_an_address_names_no_folder_here(self, path: str, cache: Path) -> None:
        source = UrlSource(kind="url", url=f"http://127.0.0.1{path}", sha256="0" * 64)
        assert urls.kept(source).parent == cache / "urls" / ("0" * 64)
        assert urls.kept(source).name in ("data", "evil.json")

    @pytest.mark.parametrize("name", ["../x", "a/b", ".", "", "A", "a b", "a;rm", "$(x)"])
    def test_an_id_that_would_be_a_path_or_a_command_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="id"):
            Model(id=name, sources=[PathSource(kind="path", path=Path("x"))])


SWELLING = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join(10 * [f'*a{n - 1}'])}]\n" for n in range(1, 9)
)


class TestDocuments:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a: !!python/object/apply:os.mkdir [HERE]\n", "the tag .* is not read"),
            ("a: !!python/name:os.system\n", "the tag .* is not read"),
            (SWELLING, "more than 500,000 values"),
            ("a: &a [*a]\n", ".a contains itself"),
            ("a: é\nb: \x07\n", "not .*"),
            ("a: " + 5000 * "[" + 5000 * "]", "nested deeper than 64 levels"),
            (9 * 2**20 * "#", "larger than 8 MiB"),
        ],
    )
    @pytest.mark.parametrize("name", ["suite.yaml", "tools.json"])
    def test_what_makes_objects_or_swells_is_refused_by_its_line(
        self, name: str, text: str, said: str, tmp_path: Path
    ) -> None:
        made = tmp_path / "made"
        file = tmp_path / name
        file.write_text(text.replace("HERE", str(made)), encoding="utf-8")
        document = open_document(file)
        assert re.search(rf"{name}:\d+: {said}", "\n".join(map(str, document.problems)))
        assert document.value is None
        assert not made.exists()


class TestSecrets:
    @pytest.mark.parametrize(
        "address",
        [
            "https://me:hidden@example.org/rows.json",  # pragma: allowlist secret
            "https://example.org/rows.json?X-Amz-Signature=abc",
            "https://example.org/rows.json?access_token=abc",
            "https://example.org/rows.json?sp=r&sig=abc",
        ],
    )
    def test_an_address_with_one_is_refused(self, address: str) -> None:
        with pytest.raises(ValueError, match="holds a secret"):
            UrlSource(kind="url", url=address, sha256="0" * 64)

    def test_a_plain_address_is_taken(self) -> None:
        UrlSource(kind="url", url="https://example.org/rows.json?download=1", sha256="0" * 64)

    def test_none_reaches_a_log_or_a_record(self, tmp_path: Path) -> None:
        """The real stage, with a token, against a hub that serves, and against one that fails."""
        hub = Hub(files={"rows.json": b"[]"})
        params = {
            "id": "rows",
            "reader": "alpaca",
            "sources": [{"kind": "hf", "repo": "a/b", "revision": "main", "files": ["*.json"]}],
        }
        with serving(hub):
            environment = {
                **os.environ,
                "HF_ENDPOINT": hub.address,
                "HF_HUB_OFFLINE": "0",
                "HF_HOME": str(tmp_path / "home"),
                "HF_TOKEN": SECRET,
                "VENDOR_API_KEY": SECRET[::-1],
            }
            shown = ""
            for repository in ("a/b", "a/missing"):
                params["sources"][0]["repo"] = repository  # type: ignore[index]
                done = subprocess.run(
                    [
                        *(
                            sys.executable,
                            str(RUN),
                            "fetch-dataset",
                            "--params",
                            json.dumps(params),
                        ),
                        *("--output", str(tmp_path / "results" / repository)),
                    ],
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                shown += done.stdout + done.stderr
        sent = [headers.get("authorization", "") for _, _, headers in hub.requests]
        assert any(SECRET in header for header in sent), "the token was not used at all"
        written = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
        assert any(path.name == "run.json" for path in written)
        for text in (shown, *(path.read_text() for path in written)):
            assert SECRET not in text
            assert SECRET[::-1] not in text

    def test_one_in_a_fact_is_taken_out_of_the_record(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from matinee.runtime.records import Recorder

        monkeypatch.setenv("WANDB_API_KEY", "a-key-of-a-service")
        recorder = Recorder("x", {"nested": [{"key": "before a-key-of-a-service after"}]})
        recorder.add(address=f"https://x.org/?token={SECRET}", other=("a-key-of-a-service", 1))
        recorder.write(tmp_path / "run.json")
        text = (tmp_path / "run.json").read_text()
        assert SECRET not in text
        assert "a-key-of-a-service" not in text
        assert "before [token] after" in text

    def test_one_in_the_repository_is_found_by_the_lint(self, tmp_path: Path) -> None:
        # Put together here, so that this file itself holds none.
        (tmp_path / "settings.py").write_text("key = '" + "AKIA" + "2E0A8F3B244C9986" + "'\n")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", str(RUN.parents[1] / "scripts/audit.sh"), str(tmp_path)],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "settings.py:1: AWS Access Key" in done.stdout
