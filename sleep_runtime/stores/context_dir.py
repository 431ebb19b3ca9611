"""The ``.context`` export: active notes as files that people read and git can compare.

    <to>/
      <org>/index.md                          the notes of the scope, and the scopes below
      <org>/<slug>-<shortid>.md               one note: YAML front matter, statement, reason
      <org>/<team>/…                          the same for teams and people
      .sleep-manifest.json                    the files we wrote: the only ones we ever remove

The bytes depend on the notes alone. What is already right is not touched, so its mtime stays.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict

from sleep_runtime.core.errors import InvalidInput
from sleep_runtime.core.ids import digest
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.text import one_line
from sleep_runtime.stores.sqlite import store_errors

MANIFEST = ".sleep-manifest.json"
SLUG_CHARS = 48
_CONTROL = re.compile(r"[#>*+\-=_`~|<\[:!]|\d+[.)]")
_OUR_ID = re.compile(r"[a-z]+_[0-9a-f]{20}\Z")


class ExportReport(BaseModel):
    """How many note and index files were written, were right already, and were removed."""

    model_config = ConfigDict(frozen=True)

    written: int = 0
    unchanged: int = 0
    removed: int = 0


def export(notes: Sequence[Note], to: Path) -> ExportReport:
    """Make ``to`` show exactly the active ones of these notes. Exporting twice changes nothing.

    Each file is replaced in one step; an export that died is finished by the next. A file that
    is in the way and not ours, a directory that leads outside and a manifest that cannot be read
    are refused with ``InvalidInput`` before anything is written; raises ``StoreError`` when the
    disk fails. One export of a directory at a time.
    """
    root = to.expanduser().absolute()
    wanted = _render([note for note in notes if note.status is NoteStatus.ACTIVE])
    with store_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        ours = _read_manifest(root)
        _refuse_strangers(root, wanted, ours)
        # Claimed before they are written: a crash never leaves a file of ours that nobody knows.
        _replace(root / MANIFEST, _manifest(ours | set(wanted)))
        written = sum(_replace(root / path, text) for path, text in sorted(wanted.items()))
        removed = sum(_remove(root, path) for path in sorted(ours - set(wanted)))
        _replace(root / MANIFEST, _manifest(wanted))
    return ExportReport(written=written, unchanged=len(wanted) - written, removed=removed)


# ---------------------------------------------------------------------------- text


def _render(notes: Sequence[Note]) -> dict[str, str]:
    """Every file's text by its path below the root, with ``/``."""
    by_scope: dict[Scope, dict[str, Note]] = defaultdict(dict)
    for note in sorted(notes, key=lambda each: each.id):
        name = _file_name(note)
        if name in by_scope[note.scope]:
            name = _file_name(note, digest(note.id)[:20])
        by_scope[note.scope][name] = note
    for scope in list(by_scope):
        for above in scope.lineage():
            by_scope.setdefault(above, {})
    files: dict[str, str] = {}
    for scope, named in by_scope.items():
        files[f"{_directory(scope)}/index.md"] = _index(scope, named, by_scope)
        files |= {f"{_directory(scope)}/{name}": _note(note) for name, note in named.items()}
    return files


def _directory(scope: Scope) -> str:
    """The scope as a path. A part that looks like one of our files is told apart by a ``%``."""
    for part in scope.parts:
        if part in {".", ".."} or {"/", "\\", "\0"} & set(part) or part.startswith("."):
            raise InvalidInput(f"{part!r} cannot be a directory", field="scope")
    return "/".join(f"{p[:-3]}%2E{p[-2:]}" if _is_md(p) else p for p in scope.parts)


def _is_md(part: str) -> bool:
    return part.lower().endswith(".md")


def _file_name(note: Note, short_id: str = "") -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", one_line(note.claim.statement).lower()).strip("-")
    slug = slug[:SLUG_CHARS].rstrip("-") or "note"
    known = note.id[-8:] if _OUR_ID.match(note.id) else digest(note.id)[:8]
    return f"{slug}-{short_id or known}.md"


def _note(note: Note) -> str:
    claim = note.claim
    fields: dict[str, Any] = {
        "id": note.id,
        "kind": claim.kind.value,
        "scope": str(note.scope),
        "tier": note.scope.tier.label,
        "subject": claim.subject,
        "aspect": claim.aspect,
        "value": claim.value,
        "applies_when": claim.applies_when,
        "status": note.status.value,
        "confidence": round(note.confidence, 2),
        "support": note.support.model_dump(),
        "valid_from": note.valid_from.isoformat(),
        "valid_to": note.valid_to.isoformat() if note.valid_to else None,
        "recorded_at": note.recorded_at.isoformat(),
        "revision": note.revision,
        "evidence": sorted(note.evidence),
    }
    front = "\n".join(f"{key}:{_yaml(value)}" for key, value in fields.items())
    body = _plain(claim.statement)
    if reason := one_line(note.reason):
        body += f"\n\nWhy: {reason}"
    return f"---\n{front}\n---\n\n{body}\n"


def _yaml(value: Any) -> str:
    """One value as YAML, with the space or the line that parts it from its key."""
    if isinstance(value, list) and value:
        return "".join(f"\n  - {_scalar(item)}" for item in value)
    if isinstance(value, dict):
        return " {" + ", ".join(f"{key}: {_scalar(item)}" for key, item in value.items()) + "}"
    return f" {_scalar(value)}"


def _scalar(value: Any) -> str:
    """Text is always quoted, so nothing in it can be structure. JSON strings are YAML strings."""
    return json.dumps(one_line(value) if isinstance(value, str) else value, ensure_ascii=False)


def _index(scope: Scope, named: Mapping[str, Note], scopes: Iterable[Scope]) -> str:
    lines = [f"# {scope}"]
    if named:
        lines += ["", "## Notes", ""]
        lines += [
            f"- [{_label(note)}]({name}) ({note.claim.kind.value}, {note.confidence:.2f})"
            for name, note in sorted(named.items(), key=lambda item: (_label(item[1]), item[0]))
        ]
    below = sorted(each for each in scopes if each.parent == scope)
    if below:
        lines += ["", "## Below", ""]
        lines += [f"- [{each}](<{_directory(each).rsplit('/', 1)[-1]}/index.md>)" for each in below]
    return "\n".join(lines) + "\n"


def _label(note: Note) -> str:
    return re.sub(r"([\[\]\\])", r"\\\1", one_line(note.claim.statement))


def _plain(text: str) -> str:
    line = one_line(text)
    return f"\\{line}" if _CONTROL.match(line) else line


# ---------------------------------------------------------------------------- files


def _manifest(paths: Iterable[str]) -> str:
    return json.dumps({"format": 1, "files": sorted(paths)}, indent=1, ensure_ascii=False) + "\n"


def _read_manifest(root: Path) -> set[str]:
    """The paths we wrote. Paths that are not of ours are an error, never followed."""
    try:
        files = json.loads((root / MANIFEST).read_text("utf-8"))["files"]
        good = all(_is_ours(path) for path in files)
    except FileNotFoundError:
        return set()
    except (ValueError, TypeError, KeyError, RecursionError):
        good = False
    if not good:
        raise InvalidInput(
            f"{root / MANIFEST} cannot be read",
            field="to",
            mend="export to an empty directory, or restore this file",
        )
    return set(files)


def _is_ours(path: object) -> bool:
    if not isinstance(path, str) or not path.endswith(".md"):
        return False
    parts = PurePosixPath(path).parts
    safe = all(not part.startswith(".") and "\\" not in part for part in parts)
    return safe and 2 <= len(parts) <= 4 and str(PurePosixPath(path)) == path and path[0] != "/"


def _refuse_strangers(root: Path, wanted: Mapping[str, str], ours: set[str]) -> None:
    inside = root.resolve()
    for path in sorted(set(wanted) | ours):
        target = root / path
        if not target.parent.resolve().is_relative_to(inside):
            raise InvalidInput(
                f"{target.parent} leads outside", field="to", mend="remove that link"
            )
        if path in wanted and path not in ours and os.path.lexists(target):
            if target.is_file() and target.read_bytes() == wanted[path].encode():
                continue
            raise InvalidInput(
                f"{target} is in the way and not from an export",
                field="to",
                mend="move it away, or export to another directory",
            )


def _replace(target: Path, text: str) -> bool:
    """Give the file these bytes in one step, unless it has them. Returns whether it wrote."""
    raw = text.encode()
    try:
        if not target.is_symlink() and target.read_bytes() == raw:
            return False
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{digest(target.name)[:16]}.tmp")
    try:
        scratch.write_bytes(raw)
        scratch.replace(target)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
    return True


def _remove(root: Path, path: str) -> bool:
    """Remove a file of ours, and the directories that are empty without it."""
    target = root / path
    try:
        target.unlink()
    except FileNotFoundError:
        return False
    for parent in target.parents:
        if parent == root or any(parent.iterdir()):
            break
        parent.rmdir()
    return True
