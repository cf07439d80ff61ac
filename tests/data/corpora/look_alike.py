"""Tiny archives in the layouts of the official ones."""

import io
import struct
import zipfile

import numpy as np
import soundfile

ENTRY = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")


def noise(num_samples, num_channels=1, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(-9_000, 9_000, (num_samples, num_channels), np.int16)


def wav(samples, rate, subtype="PCM_16"):
  """Bytes of a file of `[S, C]` samples."""
  file = io.BytesIO()
  soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
  return file.getvalue()


def put(root, content):
  """Writes files, path to bytes."""
  for name, data in content.items():
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def zipped(content, method=zipfile.ZIP_DEFLATED):
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", method) as archive:
    for name, data in content.items():
      archive.writestr(name, data)
  return file.getvalue()


def split(content, cuts, method=zipfile.ZIP_DEFLATED):
  """Parts of a split archive, cut at places of the whole of it."""
  data = bytearray(b"PK\x07\x08" + zipped(content, method))
  end = data.rindex(b"PK\x05\x06")
  fields = list(END.unpack_from(data, end))
  edges = [0, *cuts, len(data)]

  def place(offset):
    part = max(i for i, edge in enumerate(edges[:-1]) if edge <= offset)
    return part, offset - edges[part]

  at = directory = fields[6] + 4
  for _ in range(fields[4]):
    entry = list(ENTRY.unpack_from(data, at))
    entry[13], entry[16] = place(entry[16] + 4)
    ENTRY.pack_into(data, at, *entry)
    at += ENTRY.size + sum(entry[10:13])
  fields[1] = len(cuts)
  fields[2], fields[6] = place(directory)
  END.pack_into(data, end, *fields)
  return [bytes(data[a:b]) for a, b in zip(edges, edges[1:], strict=False)]


def put_split(root, stem, content, cuts, **kwargs):
  *first, last = split(content, cuts, **kwargs)
  for i, part in enumerate(first):
    (root / f"{stem}.z{i + 1:02d}").write_bytes(part)
  (root / f"{stem}.zip").write_bytes(last)


def fsd50k():
  """Files of FSD50K: train 10, 7 and 12, valid 8, test 9; 11 has no row."""
  clip = lambda i: wav(noise(4_410 + 441 * i, seed=i), 44_100)
  files = {f"FSD50K.dev_audio/{i}.wav": clip(i) for i in (7, 8, 10, 11, 12)}
  files["FSD50K.eval_audio/9.wav"] = clip(9)
  files["FSD50K.ground_truth/dev.csv"] = (
    b'split,fname,labels,extra\ntrain,10,"Bark,Dog",x\ntrain,7,Rain,x\n'
    b"val,8,Rain,x\ntrain,12,Rain,x\n"
  )
  files["FSD50K.ground_truth/eval.csv"] = b"fname,labels,mids\n9,Rain,/m/1\n"
  files["FSD50K.metadata/dev_clips_info_FSD50K.json"] = (
    b'{"10": {"title": "a", "license": "CC0"}, "7": {}}'
  )
  return files


def put_fsd50k(root, parts=(3_000, 9_000)):
  """As archives: the audio of dev split in three parts."""
  root.mkdir(parents=True, exist_ok=True)
  files = fsd50k()
  of = lambda part: {k: v for k, v in files.items() if part in k}
  put_split(root, "FSD50K.dev_audio", of("dev_audio"), parts)
  for part in ("eval_audio", "ground_truth", "metadata"):
    (root / f"FSD50K.{part}.zip").write_bytes(zipped(of(part)))


def wham():
  """Files of WHAM!: one of exactly 60 s by the table, and one of no split."""
  rows = [
    ("Train", "60.1", "a.wav", "x"),
    ("Train", "60", "b.wav", "x"),
    ("Valid", "61", "c.wav", "x"),
    ("Test", "75.5", "d.wav", "x"),
    ("Extra", "99", "e.wav", "x"),
    ("Train", "99", "f.wav", "x"),
  ]
  table = "WHAM! Split,File Length (sec),Filename,Note\n"
  table += "".join(",".join(row) + "\n" for row in rows)
  files = {"high_res_wham/high_res_metadata.csv": table.encode()}
  for i, (_, _, name, _) in enumerate(rows):
    data = wav(noise(960 + i, 2, seed=i), 48_000, "PCM_24")
    files[f"high_res_wham/audio/{name}"] = data
  return files


def demand(env, rate=16_000, seconds=0.06, without=()):
  num = int(seconds * rate)
  return {
    f"{env}/ch{c:02d}.wav": wav(noise(num, seed=c), rate)
    for c in range(1, 17)
    if c not in without
  }


def qut_noise(name, seconds=0.06, labels=None):
  num = int(seconds * 48_000)
  place = "QUT-NOISE/QUT-NOISE/"
  files = {f"{place}{name}.wav": wav(noise(num, 2, seed=num), 48_000)}
  if labels is not None:
    files[f"{place}labels/{name}.lab.txt"] = labels.encode()
  return files
