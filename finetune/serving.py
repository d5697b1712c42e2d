"""How to serve what was trained: the exact commands for vLLM, llama.cpp and Ollama, and a Modelfile for the last.

A served model is used as any other: `clinical ner note.txt --model http://localhost:8000`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote

# vLLM keeps room for adapters of one of these ranks; its default is 16, and it refuses larger adapters.
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
CONTEXT_TOKENS = 8192
OLLAMA_TEMPLATES: Mapping[str, str] = {
    "v1": "[INST] {{ if .System }}{{ .System }}\n\n{{ end }}{{ .Prompt }} [/INST]",
    "v3": "[INST] {{ if .System }}{{ .System }}\n\n{{ end }}{{ .Prompt }}[/INST]",
    "llama2": "[INST] {{ if .System }}<<SYS>>\n{{ .System }}\n<</SYS>>\n\n{{ end }}{{ .Prompt }} [/INST]",
    "plain": "{{ .Prompt }}\n",
}


def serve_folder(folder: Path, window: int) -> list[str]:
    """Return the commands to serve a model folder, and to use it."""
    return [
        f"vllm serve {quote(str(folder))} --max-model-len {min(window, CONTEXT_TOKENS)} "
        "--structured-outputs-config.backend guidance",
        "clinical ner note.txt --model http://localhost:8000",
    ]


def serve_adapter(base: str, folder: Path, name: str, rank: int) -> list[str]:
    """Return the commands to serve a base with an adapter beside it, and to use the adapter."""
    room = next((most for most in RANKS if most >= rank), RANKS[-1])
    return [
        f"vllm serve {quote(base)} --enable-lora --lora-modules {quote(f'{name}={folder}')} --max-lora-rank {room} "
        "--structured-outputs-config.backend guidance",
        f"clinical ner note.txt --model http://localhost:8000#{name}",
    ]


def serve_gguf(file: Path, window: int) -> list[str]:
    """Return the commands to serve a GGUF file, and to use it."""
    name = file.stem.lower()
    return [
        f"llama-server -m {quote(str(file))} -c {min(window, CONTEXT_TOKENS)} --port 8080",
        "clinical ner note.txt --model http://localhost:8080",
        f"ollama create {quote(name)} -f {quote(str(modelfile_of(file)))}",
        f"clinical ner note.txt --model http://localhost:11434#{name}",
    ]


def modelfile_of(file: Path) -> Path:
    """Return where the Modelfile of a GGUF file is: beside it."""
    return file.with_name(f"{file.stem}.Modelfile")


def write_modelfile(file: Path, chat: str, window: int) -> Path:
    """Write the Modelfile by which Ollama makes a model of a GGUF file, and return where it is.

    Ollama only recognises well-known chat templates, so the format is spelled out; temperature 0, because what a
    note says is no matter of chance.
    """
    made = modelfile_of(file)
    made.write_text(
        f'FROM ./{file.name}\nTEMPLATE """{OLLAMA_TEMPLATES[chat]}"""\nPARAMETER temperature 0\n'
        f'PARAMETER num_ctx {min(window, CONTEXT_TOKENS)}\nPARAMETER stop "</s>"\n',
        encoding="utf-8",
    )
    return made
