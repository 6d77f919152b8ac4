"""What the board knows, in one file of SQLite: it outlives the server, however that ended.

https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from labkit.classroom.messages import Told, kept
from labkit.errors import LabError

_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # without those that look alike
_SCHEMA = """
CREATE TABLE IF NOT EXISTS room (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS participants (
  id INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, nickname TEXT NOT NULL, n INTEGER NOT NULL DEFAULT -1,
  told TEXT NOT NULL, at REAL NOT NULL, answered INTEGER NOT NULL DEFAULT 0
);
"""


@dataclass(frozen=True)
class Participant:
    """A participant as last heard of. at: when, in seconds since 1970. answered: raised hands that were seen to."""

    id: int
    nickname: str
    told: Told
    at: float
    answered: int


class Store:
    """One class. Raises LabError for a file that is none of the board's, or cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._rows = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._rows.execute("PRAGMA journal_mode=WAL")
            self._rows.execute("PRAGMA synchronous=NORMAL")
            self._rows.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise LabError(
                f"{path} cannot hold a class.", str(error), "name another file with --store, or move this one away"
            ) from error

    def close(self) -> None:
        """Write everything into the one file."""
        self._rows.close()

    # -- the room -------------------------------------------------------------------------------------
    def key(self) -> str:
        """What opens the board; the same as long as the file is."""
        return self._value("key", secrets.token_urlsafe(24))

    def code(self, now: float, hours: float) -> tuple[str, float]:
        """What participants join with, and until when; a new one where the last has expired."""
        code, until = json.loads(self._value("code", json.dumps(["", 0.0])))
        if until <= now:
            letters = [secrets.choice(_LETTERS) for _ in range(8)]
            code, until = f"{''.join(letters[:4])}-{''.join(letters[4:])}", now + hours * 3600
            self._rows.execute("REPLACE INTO room VALUES ('code', ?)", (json.dumps([code, until]),))
        return code, until

    def _value(self, name: str, fresh: str) -> str:
        self._rows.execute("INSERT OR IGNORE INTO room VALUES (?, ?)", (name, fresh))
        value: str = self._rows.execute("SELECT value FROM room WHERE name = ?", (name,)).fetchone()[0]
        return value

    # -- participants ---------------------------------------------------------------------------------
    def join(self, nickname: str, now: float) -> str:
        """A new participant's token, which only the participant keeps."""
        token = secrets.token_urlsafe(24)
        told = json.dumps(Told(-1).as_json())
        self._rows.execute(
            "INSERT INTO participants (token, nickname, told, at) VALUES (?, ?, ?, ?)",
            (_digest(token), nickname, told, now),
        )
        return token

    def find(self, token: str) -> int | None:
        """The participant who has this token."""
        row = self._rows.execute("SELECT id FROM participants WHERE token = ?", (_digest(token),)).fetchone()
        return row[0] if row else None

    def tell(self, participant: int, told: Told, now: float) -> bool:
        """Keep what a participant told, if it is newer than what is known; whether it was."""
        changed = self._rows.execute(
            "UPDATE participants SET n = ?, told = ?, at = ? WHERE id = ? AND n < ?",
            (told.n, json.dumps(told.as_json()), now, participant, told.n),
        )
        return changed.rowcount == 1

    def answer(self, participant: int) -> None:
        """The raised hand was seen to."""
        found = {each.id: each for each in self.everyone()}.get(participant)
        if found:
            self._rows.execute("UPDATE participants SET answered = ? WHERE id = ?", (found.told.raised, participant))

    def leave(self, participant: int) -> None:
        """Forget a participant, and all that was told."""
        self._rows.execute("DELETE FROM participants WHERE id = ?", (participant,))

    def everyone(self) -> list[Participant]:
        """In the order in which they joined."""
        rows = self._rows.execute("SELECT id, nickname, told, at, answered FROM participants ORDER BY id")
        return [Participant(each[0], each[1], kept(each[2]), each[3], each[4]) for each in rows]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
