"""The command that alarms call."""

import json
import shlex
import sys

import pytest

from asd_jax import errors
from asd_jax.runs import hook

# Writes its arguments to the file that it is given first.
TELL = "import json, sys; json.dump(sys.argv[2:], open(sys.argv[1], 'w'))"


def command(*words):
  return shlex.join([sys.executable, "-c", *map(str, words)])


def test_words_are_filled_in_and_no_shell_sees_them(tmp_path):
  out, name = tmp_path / "out", "a b;$(touch x) '{score}'.wav"
  words = "f={file} {score} {p} {seconds}"
  found = hook.Hook(f"{command(TELL, out)} {words} '{{\"k\": 1}}' ';' '$HOME'")
  assert found.call(name, 0.25, 0.01, None) == ""
  assert found.wait() == []
  told = json.loads(out.read_text())
  assert told == [f"f={name}", "0.25", "0.01", "", '{"k": 1}', ";", "$HOME"]


def test_a_command_that_fails_is_told():
  found = hook.Hook(command("raise SystemExit(3)"))
  assert found.call("a.wav", 1.0, "", 2.5) == ""
  (note,) = found.wait()
  assert note == f"--on_alarm: {sys.executable} for a.wav failed with status 3"
  assert found.wait() == []


def test_a_command_that_is_not_there_is_told():
  note = hook.Hook("no-such-command {file}").call("a.wav", 1.0, "", None)
  assert note.startswith("--on_alarm: no-such-command for a.wav cannot be")


def test_commands_that_hang_are_ended_and_few(monkeypatch):
  monkeypatch.setattr(hook, "SECONDS", 0.1)
  monkeypatch.setattr(hook, "MOST", 1)
  found = hook.Hook("sleep 60")
  assert found.call("a.wav", 1.0, "", None) == ""
  assert "was not called: 1 are" in found.call("b.wav", 1.0, "", None)
  (note,) = found.wait()
  assert note == "--on_alarm: sleep for a.wav took over 0.1 s: ended"


@pytest.mark.parametrize(
  ("text", "match"),
  [
    ("say 'x", "No closing quotation"),
    ("  ", "found no command"),
    ("say {name}", r"found \{name\}, expected one of \{file\}"),
    ("say {sc'ore'd}", r"found \{scored\}"),
  ],
)
def test_what_cannot_be_called_is_refused(text, match):
  with pytest.raises(errors.InputError, match=match):
    hook.Hook(text)
