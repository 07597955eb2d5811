"""A model in any supported format is opened: converted once, by one process, completely or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from p2pinfer import convert as convert_program
from p2pinfer.errors import ModelError, StoreError
from p2pinfer.model.source import convert_model, open_model
from tests.model.tiny_models import save_tiny_model, tiny_store


def silent(line: str) -> None:
    """Progress that nobody reads."""


def test_a_store_is_opened_where_it_is(tmp_path: Path):
    """No copy, no cache."""
    store = tiny_store(tmp_path, "llama")
    again = open_model(str(store.folder), cache_folder=tmp_path / "unused", progress=silent)

    assert again.folder == store.folder
    assert not (tmp_path / "unused").exists()


def test_a_folder_is_converted_once(tmp_path: Path):
    source = save_tiny_model(tmp_path / "tiny", "llama")
    lines: list[str] = []
    first = open_model(str(source), cache_folder=tmp_path / "cache", progress=lines.append)
    said = len(lines)
    second = open_model(str(source), cache_folder=tmp_path / "cache", progress=lines.append)

    assert said > 0
    assert len(lines) == said
    assert first.folder == second.folder
    assert first.folder.name.startswith("tiny-")


def test_a_changed_source_is_converted_anew(tmp_path: Path):
    """The key of the cache follows the files."""
    source = save_tiny_model(tmp_path / "tiny", "llama")
    first = open_model(str(source), cache_folder=tmp_path / "cache", progress=silent)
    (source / "tokenizer.json").write_text('{"another": "one"}')
    second = open_model(str(source), cache_folder=tmp_path / "cache", progress=silent)

    assert first.folder != second.folder
    assert first.manifest.hash != second.manifest.hash


def test_a_conversion_by_an_older_version_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same source may give other bytes now: stores had tokenizers that split text wrongly."""
    source = save_tiny_model(tmp_path / "tiny", "llama")
    with monkeypatch.context() as older:
        older.setattr("p2pinfer.model.source.FORMAT", "p2pinfer-int8-2")
        older.setattr("p2pinfer.model.layer_store.manifest.FORMAT", "p2pinfer-int8-2")
        old = open_model(str(source), cache_folder=tmp_path / "cache", progress=silent)
    new = open_model(str(source), cache_folder=tmp_path / "cache", progress=silent)

    assert new.folder != old.folder
    assert new.manifest.hash != old.manifest.hash
    with pytest.raises(StoreError, match=r"has format 'p2pinfer-int8-2'.*convert again"):
        open_model(str(old.folder), cache_folder=tmp_path / "cache", progress=silent)


def test_what_a_killed_conversion_left_is_neither_used_nor_kept(tmp_path: Path):
    """It never gets its final name."""
    source = save_tiny_model(tmp_path / "tiny", "llama")
    whole = open_model(str(source), cache_folder=tmp_path / "cache", progress=silent)
    unfinished = tmp_path / "cache" / f".{whole.folder.name}.unfinished"
    whole.folder.rename(unfinished)
    (unfinished / "manifest.json").unlink()
    (unfinished / "layers" / "00000.safetensors").write_bytes(b"half")
    store = open_model(str(source), cache_folder=tmp_path / "cache", progress=silent)

    store.verify()
    assert not unfinished.exists()


OPENING = (
    "import sys; from pathlib import Path; from p2pinfer.model.source import open_model\n"
    "say = lambda line: print(line, flush=True)\n"
    "store = open_model(sys.argv[1], cache_folder=Path(sys.argv[2]), progress=say)\n"
    "store.verify(); print('opened', store.manifest.hash)"
)


def test_processes_that_start_together_convert_once(tmp_path: Path):
    """Three processes start together: one converts, the others wait and use the result."""
    source = save_tiny_model(tmp_path / "tiny", "llama", num_hidden_layers=40)
    command = [sys.executable, "-c", OPENING, str(source), str(tmp_path / "cache")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len({output.split()[-1] for output in outputs}) == 1
    assert sum("converting layers 0 to 9" in output for output in outputs) == 1


def test_a_conversion_killed_midway_is_made_good_by_the_next_one(tmp_path: Path):
    """SIGKILL between two layers; the lock ends with its process."""
    source = save_tiny_model(tmp_path / "tiny", "llama", num_hidden_layers=40)
    command = [sys.executable, "-c", OPENING, str(source), str(tmp_path / "cache")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "converting layers" not in process.stdout.readline():
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()

    open_model(str(source), cache_folder=tmp_path / "cache", progress=silent).verify()


@pytest.mark.parametrize("model", ["./nowhere", "/nowhere/at/all", "nowhere.gguf", "a/b/c"])
def test_a_path_that_is_not_there_is_not_looked_up_on_the_hub(tmp_path: Path, model: str):
    """It can't be a model id."""
    with pytest.raises(ModelError, match=f"there is no file or folder {model}"):
        open_model(model, cache_folder=tmp_path, progress=silent)


def run_without_hub(program: str, home: Path) -> subprocess.CompletedProcess[str]:
    """A process whose hub is a closed port, and whose local cache is `home`."""
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_HOME": str(home)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home, check=False)


def test_a_model_id_without_a_hub_is_one_clear_error_at_once(tmp_path: Path):
    """No retries and no traceback, in a process of its own whose hub is a closed port."""
    program = (
        "import sys, time; from pathlib import Path; from p2pinfer.model.source import open_model\n"
        "from p2pinfer.errors import ModelError\nimport huggingface_hub\nbegan = time.monotonic()\n"
        "try: open_model('nobody/nothing', cache_folder=Path('.'), progress=print)\n"
        "except ModelError as error: print(f'{time.monotonic() - began:.1f} {error}')"
    )
    result = run_without_hub(program, tmp_path)
    seconds, _, message = result.stdout.strip().partition(" ")

    assert message.startswith("nobody/nothing is no local folder and not in the Hugging Face cache, and")
    assert "\n" not in message
    assert float(seconds) < 10


def test_a_model_in_the_local_hub_cache_needs_no_hub(tmp_path: Path):
    """The cache's own layout: a snapshot that a reference names."""
    repository = tmp_path / "hub" / "models--some--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    save_tiny_model(repository / "snapshots" / ("0" * 40), "llama")
    program = (
        "from p2pinfer.model.source import locate, open_source\n"
        "print(open_source('some/tiny', locate('some/tiny'), print).origin.words)"
    )
    result = run_without_hub(program, tmp_path)

    assert result.stdout.splitlines()[-1] == "some/tiny at 000000000000, safetensors BF16", result.stderr


def test_nonsense_is_no_model_id(tmp_path: Path):
    """The message says what a model may be."""
    with pytest.raises(ModelError, match=r"neither a folder, nor a .gguf file, nor a model id"):
        open_model("what is this?", cache_folder=tmp_path, progress=silent)


def test_a_file_that_is_no_gguf_file_is_refused(tmp_path: Path):
    (tmp_path / "weights.bin").write_text("")
    (tmp_path / "weights.gguf").write_text("no")
    for name in ("weights.bin", "weights.gguf"):
        with pytest.raises(ModelError, match="gguf"):
            open_model(str(tmp_path / name), cache_folder=tmp_path, progress=silent)


def test_converting_into_a_folder_that_is_not_empty_is_refused(tmp_path: Path):
    """No file of the user is overwritten; an empty folder is allowed."""
    source = save_tiny_model(tmp_path / "m", "llama")
    (tmp_path / "out").mkdir()
    store = convert_model(str(source), tmp_path / "out", silent)

    with pytest.raises(StoreError, match="exists and is not empty"):
        convert_model(str(source), tmp_path / "out", silent)
    with pytest.raises(StoreError, match="is a layer store already"):
        convert_model(str(store.folder), tmp_path / "other", silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "out"]


def test_the_convert_program_prints_the_models_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Two owners compare it."""
    source = save_tiny_model(tmp_path / "m", "llama")
    status = convert_program.main([str(source), "--out", str(tmp_path / "out")])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())

    assert status == 0
    assert f"model hash {manifest['hash']}" in capsys.readouterr().out


def test_the_convert_program_says_errors_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    began = time.monotonic()
    status = convert_program.main([str(tmp_path / "nothing"), "--out", str(tmp_path / "out")])

    assert status == 1
    assert capsys.readouterr().err.splitlines() == [
        f"p2pinfer.convert: there is no file or folder {tmp_path / 'nothing'}"
    ]
    assert time.monotonic() - began < 20
